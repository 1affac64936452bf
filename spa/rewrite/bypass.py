"""Write a model without some of its branches: what ends them becomes the shortcut, names stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    ends = {each.add: each for each in branches}
    before = graph.proto.graph.node
    within = {name for node in before for name in captured_names(node)}
    named = within.union(graph.outputs)
    stands: dict[str, str] = {}  # what is read in the place of a sum
    nodes: list[NodeProto] = []
    for node, proto in zip(graph.nodes, before, strict=True):
        copy = copied(proto)
        copy.input[:] = [stands.get(name, name) for name in copy.input]
        branch = ends.get(node.index)
        if branch is not None:
            shortcut = stands.get(branch.shortcut, branch.shortcut)
            rest = _rest(node, branch, shortcut)
            nodes.extend(rest)
            name = total_of(node) if rest else branch.name
            if name is not None and name not in named:
                stands[name] = shortcut
            elif name is not None:
                free = "" if rest else copy.name
                nodes.append(make.Identity([shortcut], [name], name=free))
            continue
        nodes.append(copy)
    gone = {index for each in ends.values() for index in each.nodes}
    lost = {name for index in gone for name in graph.nodes[index].outputs}
    return _assembled(graph, _needed(nodes, graph, lost), stands)


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
