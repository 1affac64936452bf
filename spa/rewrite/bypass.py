"""Write a model without some of its branches: what ends them becomes the shortcut, names stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper

from spa.depth import Branch
from spa.depth.reach import total_of
from spa.graph.model import Graph, Node
from spa.graph.normalize import captured_names, mentioned_in
from spa.graph.tensors import copied, shell_of
from spa.make import make
from spa.rules import trait_of


def bypassed(graph: Graph, branches: Iterable[Branch]) -> ModelProto:
    """The model in which what ends the branches is their shortcuts.

    Of an operator that begins with the sum the rest stays.  What nobody needs then leaves the
    model, stored tensors too.  Where a sum is an output of the model, or a body reads it, a node
    stays that hands the shortcut on under its name.

    Args:
        graph: the model; not changed.
        branches: of that model.
    """
    branches = tuple(branches)
    ends = {each.add: each for each in branches}
    collapsed = collapse(graph, branches)
    nodes: list[NodeProto] = []
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        copy = copied(proto)
        copy.input[:] = [collapsed.get(name, name) for name in copy.input]
        branch = ends.get(node.index)
        if branch is not None:
            shortcut = collapsed.get(branch.shortcut, branch.shortcut)
            rest = _rest(node, branch, shortcut)
            nodes.extend(rest)
            name = _sum(node, branch)
            if name is not None and name not in collapsed:
                free = "" if rest else copy.name
                nodes.append(make.Identity([shortcut], [name], name=free))
        elif not node.outputs or node.outputs[0] not in collapsed:
            nodes.append(copy)
    gone = {index for each in ends.values() for index in each.nodes}
    lost = {name for index in gone for name in graph.nodes[index].outputs}
    return _assembled(graph, _needed(nodes, graph, lost), collapsed)


def collapse(graph: Graph, branches: Iterable[Branch]) -> dict[str, str]:
    """What is read in the place of tensors that nobody makes any more.

    These are the sums that end the branches, and what an operation makes of such a sum that was
    done to the shortcut already and changes nothing when it is done twice.

    Args:
        graph: the model.
        branches: of that model.
    """
    ends = {each.add: each for each in branches}
    named = {name for node in graph.proto.graph.node for name in captured_names(node)}
    named.update(graph.outputs)
    maker = {name: node for node in graph.nodes for name in node.outputs}
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.index in ends:
            name, source = _sum(node, ends[node.index]), ends[node.index].shortcut
        elif node.inputs and node.inputs[0] in found and trait_of(node).idempotent:
            name, source = node.outputs[0], found[node.inputs[0]]
            if source not in maker or not _alike(graph, node, maker[source]):
                continue
        else:
            continue
        if name is not None and name not in named:
            found[name] = found.get(source, source)
    return found


def _sum(node: Node, branch: Branch) -> str | None:
    """The tensor that becomes the shortcut, if the operator makes it for others to read."""
    return total_of(node) if _rest(node, branch, branch.shortcut) else branch.name


def stands_for(graph: Graph, branches: Iterable[Branch]) -> dict[str, str]:
    """Which tensors of the shortened model stand for another tensor of the original.

    A shortcut does that nobody reads but in the place of the sum.  So does what an activation makes
    it of, where the sum goes through the same activation.

    Args:
        graph: the original.
        branches: those that it loses.

    Returns:
        By tensor of the shortened model, the tensor of the original whose values it should take.
    """
    branches = tuple(branches)
    collapsed = collapse(graph, branches)
    gone = {index for each in branches for index in (*each.nodes, each.add)}
    gone |= {node.index for node in graph.nodes if node.outputs and node.outputs[0] in collapsed}
    maker = {name: node for node in graph.nodes for name in node.outputs}
    chains: dict[str, list[str]] = {}
    for name, root in collapsed.items():
        chains.setdefault(root, [root]).append(name)

    def read(name: str) -> bool:
        users = [user.index for user in graph.readers.get(name, ())]
        return name in graph.outputs or not gone.issuperset(users)

    found: dict[str, str] = {}
    for root, chain in chains.items():
        last = chain[-1]
        if any(read(name) for name in chain[:-1]):
            continue
        found[root] = last
        node, twin = maker.get(root), maker[last]
        if node is None or not trait_of(twin).idempotent or not _alike(graph, node, twin):
            continue
        source = node.inputs[0]
        if len(graph.readers.get(source, ())) == 1 and source not in graph.outputs:
            found[source] = twin.inputs[0]
    return found


def _alike(graph: Graph, one: Node, other: Node) -> bool:
    """Whether two nodes do the same to their first inputs."""
    kinds = [(node.op, node.domain, node.attrs, len(node.inputs)) for node in (one, other)]
    return kinds[0] == kinds[1] and all(
        a == b or (a in graph.consts and b in graph.consts and _equal(graph, a, b))
        for a, b in zip(one.inputs[1:], other.inputs[1:], strict=True)
    )


def _equal(graph: Graph, one: str, other: str) -> bool:
    return np.array_equal(graph.consts[one], graph.consts[other])


def _rest(node: Node, branch: Branch, shortcut: str) -> list[NodeProto]:
    """What is left of the operator that ends a branch, which may do more than add."""
    like = trait_of(node).begins
    if like is None or branch.kind == "run":
        return []
    place = next(i for i in like.operands if node.inputs[i] == branch.end)
    steps = like.rest(node, place) or ()
    return [
        helper.make_node(
            step.op,
            [shortcut if name == branch.shortcut else name for name in step.inputs],
            [name for name in step.outputs if name],
            name=node.name if k == 0 else "",
            domain=step.domain or None,
            **step.attrs,
        )
        for k, step in enumerate(steps)
    ]


def _needed(nodes: list[NodeProto], graph: Graph, lost: set[str]) -> list[NodeProto]:
    """The nodes without those that made only what branches needed, together or each alone."""
    maker = {name: node for node in nodes for name in node.output if name}
    todo, doubtful = list(lost), set(lost)
    while todo:  # all that the branches were computed of: two may have shared it
        node = maker.get(todo.pop())
        for name in (*node.input, *captured_names(node)) if node is not None else ():
            if name not in doubtful:
                doubtful.add(name)
                todo.append(name)
    read = set(graph.outputs)
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        made = [name for name in node.output if name]
        if doubtful.issuperset(made) and read.isdisjoint(made):
            continue
        read.update((*node.input, *captured_names(node)))
        kept.append(node)
    return kept[::-1]


def _assembled(graph: Graph, nodes: list[NodeProto], stands: Mapping[str, str]) -> ModelProto:
    """A model of the nodes that are left, with what they read and what is known of what they make.

    What was stored and read by nobody before stays, and so do the defaults of inputs.
    """
    old = graph.proto
    model = shell_of(old, "node", "value_info")
    model.graph.node.extend(nodes)
    used = {*mentioned_in(model.graph), *graph.outputs}  # inputs, too, and so their defaults
    stays = used.union(set(graph.consts) - set(graph.readers))
    for tensor in old.graph.initializer:
        if tensor.name in stays:
            model.graph.initializer.add().CopyFrom(tensor)
    for info in old.graph.value_info:
        if info.name in used and info.name not in stands:
            model.graph.value_info.add().CopyFrom(info)
    return model
