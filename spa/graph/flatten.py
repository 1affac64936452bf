"""Ifs whose condition is a constant make way for the branch that is taken.

Exporters leave such nodes behind where a rank or a size decided, and a pruner sees far less inside
a branch than outside.  Names stay as they are; where they clash the If stays until that is settled.
"""

from __future__ import annotations

from collections import Counter

from onnx import GraphProto, NodeProto, helper

from spa.graph.normalize import captured_names, defined_in, lift_constants, replace_nodes
from spa.graph.tensors import Consts, weights_of


def flatten(graph: GraphProto) -> bool:
    """Replace what can be replaced, in place; whether anything was."""
    consts = Consts(weights_of(graph))
    branches = {i: _branches(node, consts) for i, node in enumerate(graph.node)}
    if not any(branches.values()):
        return False
    defined = Counter(defined_in(graph, deep=True))
    nodes: list[NodeProto] = []
    idle: set[str] = set()  # what nobody may read any more
    changed = False
    for index, node in enumerate(graph.node):
        pair = branches[index]
        if pair is None or not _fits(*pair, defined):
            nodes.append(node)
            continue
        taken, dropped = pair
        changed = True
        idle.update(captured_names(node))
        defined.subtract(defined_in(dropped, deep=True))
        graph.initializer.extend(taken.initializer)
        graph.sparse_initializer.extend(taken.sparse_initializer)
        graph.value_info.extend(taken.value_info)
        nodes.extend(taken.node)
        nodes.extend(
            helper.make_node("Identity", [result.name], [name], name=f"{node.name}/{name}")
            for result, name in zip(taken.output, node.output, strict=False)
            if name
        )
    if changed:
        replace_nodes(graph, nodes)
        lift_constants(graph)
        for node in graph.node:
            idle.difference_update(node.input, captured_names(node))
        drop_initializers(graph, idle.difference(info.name for info in graph.output))
    return changed


def drop_initializers(graph: GraphProto, names: set[str]) -> None:
    """Remove initializers by name; those that an input falls back on stay with the input."""
    names = names.difference(info.name for info in graph.input)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name in names:
            del graph.initializer[index]


def _branches(node: NodeProto, consts: Consts) -> tuple[GraphProto, GraphProto] | None:
    """The branch that an If with a constant condition takes, and the other one."""
    if node.op_type != "If" or node.domain not in ("", "ai.onnx") or node.input[0] not in consts:
        return None
    if list(consts.protos[node.input[0]].dims) not in ([], [1]):
        return None
    bodies = {attribute.name: attribute.g for attribute in node.attribute}
    then, otherwise = bodies["then_branch"], bodies["else_branch"]
    return (then, otherwise) if consts[node.input[0]].reshape(()) else (otherwise, then)


def _fits(taken: GraphProto, dropped: GraphProto, defined: Counter[str]) -> bool:
    """Whether the names of a branch are its own: outside they would hide or be hidden."""
    others = Counter(defined_in(dropped, deep=True))
    return all(defined[name] - others[name] == 1 for name in defined_in(taken))
