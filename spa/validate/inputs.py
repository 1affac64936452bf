"""Inputs to validate on: at the sizes of the analysis, and at another batch where it is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from spa import runtime
from spa.coupling.cost import batch_symbol

Feeds = dict[str, NDArray[Any]]


def feeds_at(graph: Any, seed: int, batch: int | None = None) -> Feeds:
    """Random inputs at the sizes of the analysis, or with another batch size."""
    symbol = batch_symbol(graph)
    if batch is None or symbol is None:
        return dict(runtime.feeds(graph, seed))
    shapes = dict(graph.shapes)
    for name in graph.inputs:
        symbols = graph.dynamic.get(name) or (None,) * len(shapes[name])
        shapes[name] = tuple(
            batch if s == symbol else n for s, n in zip(symbols, shapes[name], strict=True)
        )
    return dict(runtime.feeds(replace(graph, shapes=shapes), seed))


def other_batch(graph: Any) -> int | None:
    """A batch size the analysis did not use, or None where the batch is fixed."""
    symbol = batch_symbol(graph)
    return None if symbol is None else (3 if graph.dims.get(symbol) != 3 else 2)
