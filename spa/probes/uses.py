"""What a model does with an input first: which tables it indexes, how it scales, what it masks.

Everything is read off the operations, never off names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


Floats = NDArray[np.float64]

MASKED = -1e3  # what is added to, or put in the place of, a score that must not count, or less


@dataclass(frozen=True)
class Integers:
    """Tables that an integer input indexes (`tables`: their names) and what it is compared with."""

    limits: tuple[int, ...]
    tables: tuple[str, ...]
    compared: tuple[int, ...]

    @property
    def limit(self) -> int | None:
        """Ids must be below this; None if nothing is indexed."""
        return min(self.limits) if self.limits else None


def integers(graph: Graph, name: str) -> Integers:
    """Follow an integer input to what it indexes."""
    limits: list[int] = []
    named: list[str] = []
    compared: list[int] = []
    for tensor, node in reached(graph, name):
        for limit, table in tables(graph, node, tensor):
            limits.append(limit)
            named += [] if table is None else [table]
        if trait_of(node).compares == "equal":
            (other,) = [name for name in node.inputs if name != tensor] or [tensor]
            value, classes = _scalar(graph, other), _one_hot(graph, other)
            compared += [] if value is None else [int(value)]
            limits += [] if classes is None else [classes]
    return Integers(tuple(limits), tuple(named), tuple(compared))


def masks_out(graph: Graph, name: str) -> bool:
    """Whether True, in a boolean input, means that an entry does not count."""
    todo, seen = [(name, True)], {name}
    while todo:
        tensor, true = todo.pop()
        for node in graph.readers.get(tensor, ()):
            like = trait_of(node)
            if like.condition is not None and node.inputs[like.condition] == tensor:
                low = [_lowest(graph, n) for n in node.inputs[like.condition + 1 :][:2]]
                if (low[0] < MASKED) != (low[1] < MASKED):
                    return (low[0] < MASKED) == true
                continue
            if (like.carries or like.negates) and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                todo.append((node.outputs[0], true != like.negates))
    return False


def _lowest(graph: Graph, name: str) -> float:
    value = graph.consts.get(name)
    return float(value.min()) if value is not None and 0 < value.size <= 4096 else 0.0


def _one_hot(graph: Graph, name: str) -> int | None:
    """How many classes a comparison with 0, 1, 2, ... tells apart; None if it is with others."""
    made = graph.made_by.get(name)
    if made is not None and (trait_of(made).moves or trait_of(made).casts):
        return _one_hot(graph, made.inputs[0])
    value = graph.consts.get(name)
    if value is None or not 1 < value.size <= 1 << 20 or value.dtype.kind not in "iuf":
        return None
    last = np.asarray(value).reshape(-1, value.shape[-1])[0]
    return len(last) if np.array_equal(last, np.arange(len(last))) else None


def _scalar(graph: Graph, name: str) -> float | None:
    value = graph.consts.get(name)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


@dataclass(frozen=True, eq=False)
class Entry:
    """How a float input enters the model: `factor * x + shift`, then `node` (None if unclear).

    `factor` and `shift` are scalars or per channel.  `passed` are the nodes on the way.
    """

    factor: Floats
    shift: Floats
    node: Node | None
    tensor: str
    passed: tuple[Node, ...]

    @property
    def scaled(self) -> bool:
        """Whether it is changed on the way at all."""
        return bool(np.any(self.factor != 1) or np.any(self.shift != 0))


def entry(graph: Graph, name: str) -> Entry:
    """Follow a float input through constants that scale and shift it to its first layer."""
    factor, shift = np.ones(1), np.zeros(1)
    tensor = name
    passed: list[Node] = []
    for _ in range(64):
        nodes = [node for node in graph.readers.get(tensor, ()) if not trait_of(node).only_shape]
        if not nodes or (len(nodes) > 1 and not all(trait_of(n).convolves for n in nodes)):
            return Entry(factor, shift, None, tensor, tuple(passed))
        node = nodes[0]
        change = _affine(graph, node, tensor)
        if change is not None and _alike(factor, change[0], change[1]):
            factor, shift = factor * change[0], shift * change[0] + change[1]
        elif not passes(node) or node.inputs[0] != tensor:
            return Entry(factor, shift, node, tensor, tuple(passed))
        passed.append(node)
        tensor = node.outputs[0]
    return Entry(factor, shift, None, tensor, tuple(passed))


def passes(node: Node) -> bool:
    """Whether a node hardly changes values on their way from an input to its first layer."""
    like = trait_of(node)
    whole = like.linear in ("reshapes", "permutes", "pads") or like.casts or like.resamples
    return whole or like.quantizes or like.dequantizes


def _alike(*arrays: Floats) -> bool:
    return len({array.size for array in arrays} - {1}) <= 1


def _affine(graph: Graph, node: Node, tensor: str) -> tuple[Floats, Floats] | None:
    """`y = a x + b` of a node that adds or multiplies by a constant per channel or for all."""
    how = trait_of(node).linear
    if how not in ("adds", "subtracts", "scales", "divides") or len(node.inputs) != 2:
        return None
    first = node.inputs[0] == tensor
    value = graph.consts.get(node.inputs[1 if first else 0])
    if value is None or value.size != max(value.shape, default=1) or value.size > 64:
        return None
    c = np.asarray(value, np.float64).reshape(-1)
    one, zero = np.ones(1), np.zeros(1)
    if how == "adds":
        return one, c
    if how == "subtracts":
        return (one, -c) if first else (-one, c)
    if how == "scales":
        return c, zero
    return (1 / c, zero) if first and np.all(c) else None
