"""Which integers are indices, and below what: read off the operators that take them."""

from __future__ import annotations

from collections.abc import Iterator

from spa.graph.model import Graph, Node
from spa.labels import Shape
from spa.rules import Lookup, trait_of


def tables(graph: Graph, node: Node, tensor: str) -> Iterator[tuple[int, str | None]]:
    """The limits of `tensor` where `node` takes it as indices, and the table if it has rows."""
    for lookup in trait_of(node).lookups:
        if node.inputs[lookup.index : lookup.index + 1] == (tensor,):
            table = (*node.inputs, *[""] * (lookup.table + 1))[lookup.table]
            limit = _limit(graph, node, lookup, table, graph.shapes.get(tensor, ()))
            if limit is not None:
                yield limit, table if lookup.rows else None


def _limit(graph: Graph, node: Node, lookup: Lookup, table: str, index: Shape) -> int | None:
    """How many there are of what is numbered; None if nobody knows."""
    if lookup.depth:
        depth = graph.consts.get(table)
        return int(depth.reshape(-1)[0]) if depth is not None and depth.size == 1 else None
    shape = graph.shapes.get(table)
    if not shape:
        return None
    if lookup.each:
        return min(shape[: max(1, (index or (1,))[-1])])
    return shape[int(node.attrs.get(lookup.axis, 0))]


def _carries(node: Node) -> bool:
    """Whether a node hands numbers on, whole at most; so do the borders of a body (`slots`)."""
    like = trait_of(node)
    return like.carries or like.rounds or bool(node.slots)


def numbered(graph: Graph, name: str) -> bool:
    """Whether a float input holds indices: nothing is computed with it before it is made whole."""
    seen, todo, found = {name}, [name], False
    while todo:
        for node in graph.readers.get(todo.pop(), ()):
            like = trait_of(node)
            if like.only_shape or like.compares or not node.outputs:
                continue
            if not _carries(node):
                return False
            made = node.outputs[0]
            if graph.dtypes.get(made, graph.dtypes[name]).kind in "iu":
                pairs = reached(graph, made)
                found = found or any(any(tables(graph, n, t)) for t, n in pairs)
            elif made not in seen:
                seen.update(node.outputs)
                todo.extend(node.outputs)
    return found


def reached(graph: Graph, name: str) -> Iterator[tuple[str, Node]]:
    """Every node that an input's values reach unchanged, with the tensor they come in by."""
    seen, todo = {name}, [name]
    while todo:
        tensor = todo.pop()
        for node in graph.readers.get(tensor, ()):
            yield tensor, node
            indexes = any(
                node.inputs[lookup.index : lookup.index + 1] == (tensor,)
                for lookup in trait_of(node).lookups
            )
            if _carries(node) and not indexes and not seen.issuperset(node.outputs):
                seen.update(node.outputs)
                todo.extend(node.outputs)
