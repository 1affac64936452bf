"""Axes that match others only while a symbol is 1: no length but the file's own fits there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from spa.graph.facts import Facts
from spa.graph.model import Node

Shape = tuple[int, ...]


def stretched(
    nodes: Iterable[Node], shapes: Mapping[str, Shape], elsewhere: Sequence[Facts]
) -> dict[str, frozenset[int]]:
    """Of results, the axes along which an axis that has one place here only is repeated.

    A model that runs with a batch of 1 may run with one of 3, too, where another operand is 3 long
    at that place: with the 3 cut to 2 it would not.

    Args:
        nodes: in the order they run.
        shapes: at the sizes of the analysis.
        elsewhere: walks at other sizes, or with symbols left open.
    """
    found: dict[str, set[int]] = defaultdict(set)
    single = {name: _open_ones(name, shapes[name], elsewhere) for name in shapes}
    for node in nodes:
        read = [n for n in node.inputs if n in shapes]
        rank = max((len(shapes[n]) for n in read), default=0)
        for name in (o for o in node.outputs if rank and len(shapes.get(o, ())) == rank):
            for axis in {a for n in read for a in single[n]}:
                others = {shapes[n][axis] for n in read if -axis <= len(shapes[n])} - {1}
                if shapes[name][axis] in others:
                    found[name].add(axis % rank)
    return {name: frozenset(axes) for name, axes in found.items()}


def _open_ones(name: str, shape: Shape, elsewhere: Sequence[Facts]) -> frozenset[int]:
    """The axes, counted from the end, that have one place here and may have more elsewhere."""
    ones, rank = [a for a, n in enumerate(shape) if n == 1], len(shape)
    dims = [f.types[name].tensor_type.shape.dim for f in elsewhere if ones and name in f.types]
    dims = [d for d in dims if len(d) == rank]
    return frozenset(a - rank for a in ones if any(d[a].dim_value != 1 for d in dims))
