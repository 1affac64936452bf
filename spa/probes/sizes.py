"""Which axes of a model's inputs are the batch, and which symbols stand for one size.

Symbols that got the same size in the analysis are taken for the same axis: sizes were chosen apart
wherever the model let them be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spa.graph.model import Graph
from spa.graph.single import single


@dataclass(frozen=True)
class Sizes:
    """The batch axis of each input, None where it has none.

    `rows` is the batch size where the model fixes it, None where it is open.  `open` names, for
    each axis that is neither fixed nor the batch, the size it had in the analysis.
    """

    rows: int | None
    batch: Mapping[str, int | None]
    open: Mapping[str, tuple[int | None, ...]]


def sizes_of(graph: Graph) -> Sizes:
    """Read the axes of all inputs."""
    shapes = {name: graph.shapes[name] for name in graph.inputs}
    dynamic = {name: graph.dynamic.get(name) or (None,) * len(shapes[name]) for name in shapes}
    alone = single(graph.proto.graph, graph.consts)
    leading = {s[0] for name, s in dynamic.items() if s and name not in alone} - {None}
    size = {graph.dims.get(symbol) for symbol in leading if symbol is not None}
    rows: int | None = None
    batch: dict[str, int | None] = dict.fromkeys(shapes)
    if len(size) == 1:
        batch = {n: _axis(dynamic[n], shapes[n], leading, *size) for n in shapes}
        batch |= dict.fromkeys(alone)
    elif size and _one_by_many_names(dynamic, leading):
        batch = {n: _axis(dynamic[n], shapes[n], leading, None) for n in shapes}
    elif size:  # several: nothing that every input has a row of
        rows = 1
    else:
        ranked = {n: s for n, s in shapes.items() if len(s) > 1 and n not in alone}
        rows = next((shape[0] for shape in ranked.values()), None)
        batch = {n: 0 if n in ranked and s[0] == rows else None for n, s in shapes.items()}
        rows = rows or 1
    still = {
        name: tuple(
            shapes[name][axis] if symbol is not None and axis != batch[name] else None
            for axis, symbol in enumerate(symbols)
        )
        for name, symbols in dynamic.items()
    }
    return Sizes(rows, batch, still)


def _one_by_many_names(
    dynamic: Mapping[str, tuple[str | None, ...]], leading: set[str | None]
) -> bool:
    """Whether symbols of different sizes are the batch all the same, each input having its own.

    They are, unless one is met anywhere but in front of an input of several axes.
    """
    inside = {s for symbols in dynamic.values() for s in symbols[1:]}
    lengths = {symbols[0] for symbols in dynamic.values() if len(symbols) == 1}
    return not leading & (inside | lengths)


def _axis(
    symbols: tuple[str | None, ...],
    shape: tuple[int, ...],
    leading: set[str | None],
    rows: int | None,
) -> int | None:
    """Where the batch is: at a symbol that leads some input, else at the first of its size."""
    for axis, symbol in enumerate(symbols):
        if symbol in leading:
            return axis
    alike = (k for k, symbol in enumerate(symbols) if symbol is not None and shape[k] == rows)
    return next(alike, None)
