"""Which integers are indices, and below what: read off the operators that take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spa.graph.model import Graph, Node

_CARRYING = (
    "Cast Identity Reshape Squeeze Unsqueeze Flatten Transpose Slice Concat Clip Expand Gather "
    "Split Max Min Where"
)
CARRIERS = frozenset(_CARRYING.split())
"""Ops that hand integers on unchanged, as far as their range goes."""

ROUNDING = frozenset(("Floor", "Ceil", "Round"))
COMPARING = frozenset(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"))

TABLES = {
    "Gather": {1: 0},
    "GatherElements": {1: 0},
    "GatherND": {1: 0},
    "ScatterElements": {1: 0},
    "ScatterND": {1: 0},
    "GatherBlockQuantized": {1: 0},
    "EmbedLayerNormalization": {0: 2, 1: 4, 8: 3},
    "QEmbedLayerNormalization": {0: 2, 1: 4},
}
"""By operator: which inputs are indices, and the input whose rows they number."""

ALONG_AXIS = frozenset(("Gather", "GatherElements", "ScatterElements"))
WHOLE_ROWS = frozenset(("Gather", "EmbedLayerNormalization"))
"""Operators that give back the rows of a table as they are."""


def tables(graph: Graph, node: Node, tensor: str) -> Iterator[tuple[int, str | None]]:
    """The limits of `tensor` where `node` takes it as indices, and the table if it has rows."""
    for index, data in TABLES.get(node.op, {}).items():
        if node.inputs[index : index + 1] != (tensor,):
            continue
        table = node.inputs[data] if data < len(node.inputs) else ""
        limit = _limit(node.op, graph.shapes.get(table), node, graph.shapes.get(tensor, ()))
        if limit is not None:
            yield limit, table if node.op in WHOLE_ROWS else None
    if node.op == "OneHot" and node.inputs[0] == tensor:
        depth = graph.consts.get(node.inputs[1])
        if depth is not None and depth.size == 1:
            yield int(depth.reshape(-1)[0]), None


def _limit(
    op: str, shape: tuple[int, ...] | None, node: Node, indices: tuple[int, ...]
) -> int | None:
    """The length of the axis that is indexed; None if the table has none."""
    if not shape:
        return None
    if op in ("GatherND", "ScatterND"):
        return min(shape[: max(1, (indices or (1,))[-1])])
    axis = node.attrs.get("gather_axis" if op == "GatherBlockQuantized" else "axis", 0)
    return shape[axis if op in ALONG_AXIS or op == "GatherBlockQuantized" else 0]


def readers_of(graph: Graph) -> dict[str, list[Node]]:
    """The nodes that read each tensor, those in the bodies of others included."""
    readers: dict[str, list[Node]] = {}
    for node in graph.order:
        for name in dict.fromkeys((*node.inputs, *node.captured)):
            readers.setdefault(name, []).append(node)
    return readers


def _carries(node: Node) -> bool:
    """Whether a node hands numbers on as they are; so do the borders of a body (`slots`)."""
    return node.op in CARRIERS or bool(node.slots)


def numbered(graph: Graph, name: str, users: Mapping[str, Sequence[Node]]) -> bool:
    """Whether a float input holds indices: nothing is computed with it before it is made whole."""
    seen, todo, found = {name}, [name], False
    while todo:
        for node in users.get(todo.pop(), ()):
            if node.op == "Shape" or node.op in COMPARING or not node.outputs:
                continue
            if not _carries(node) and node.op not in ROUNDING:
                return False
            made = node.outputs[0]
            if graph.dtypes.get(made, graph.dtypes[name]).kind in "iu":
                pairs = reached(made, users)
                found = found or any(any(tables(graph, n, t)) for t, n in pairs)
            elif made not in seen:
                seen.update(node.outputs)
                todo.extend(node.outputs)
    return found


def reached(name: str, users: Mapping[str, Sequence[Node]]) -> Iterator[tuple[str, Node]]:
    """Every node that an input's values reach unchanged, with the tensor they come in by."""
    seen, todo = {name}, [name]
    while todo:
        tensor = todo.pop()
        for node in users.get(tensor, ()):
            yield tensor, node
            indexes = any(node.inputs[i : i + 1] == (tensor,) for i in TABLES.get(node.op, ()))
            carries = _carries(node) or node.op in ROUNDING
            if carries and not indexes and not seen.issuperset(node.outputs):
                seen.update(node.outputs)
                todo.extend(node.outputs)
