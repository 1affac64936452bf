"""Inputs to validate on: random ones for proofs, and fresh rows of a probe for the drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from numpy.typing import NDArray

from spa.graph.model import Graph
from spa.graph.single import at_hand
from spa.probes import Probe
from spa.probes.plain import feeds

Feeds = dict[str, NDArray[Any]]

ROWS = 64
"""Rows the drift is measured on: a top-1 agreement of 90 % is then known to about 4 points."""
FEWEST = 4
WORK = 1e11  # multiply-accumulates the original may spend on them: a few seconds on two cores
NUMBERS = 2e9  # numbers it may compute on them, for models that are bound by memory
AT_ONCE = 1 << 23  # numbers in the largest tensor of one run
MOST_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs to measure drift on: runs, what they are, how many rows they hold in all.

    `held_back` says that nothing was fitted on them.
    """

    runs: Sequence[Feeds]
    kind: str
    rows: int
    held_back: bool


def fresh(graph: Graph, probe: Probe, macs: float) -> Inputs:
    """Rows of a probe that nothing is fitted on, fewer where one row costs many `macs`."""
    sizes = [
        prod(graph.shapes[n]) for node in graph.nodes for n in node.outputs if n in graph.shapes
    ]
    rows_there = at_hand(graph)
    numbers = sum(sizes) / max(1, rows_there)
    most = min(ROWS, WORK // max(macs, 1), NUMBERS // max(numbers, 1))
    rows, apart = probe.fresh(int(max(FEWEST, most)))
    batch = max(1, min(MOST_AT_ONCE, AT_ONCE * rows_there // max(1, *sizes)))
    if most <= FEWEST:  # each run is so long that it is timed, too, as a run of the analysis is
        batch = rows_there
    return Inputs(list(probe.runs(rows, batch)), probe.kind, len(rows), apart)


def random(graph: Graph, seed: int) -> Inputs:
    """Noise, where there is nothing better."""
    feeds = feeds_at(graph, seed)
    rows = next((len(value) for value in feeds.values() if value.ndim), 1)
    return Inputs([feeds], "random", rows, True)


def feeds_at(graph: Graph, seed: int, sizes: Mapping[str, int] | None = None) -> Feeds:
    """Random inputs at the sizes of the analysis, or at other `sizes` of its symbols."""
    if sizes is None or sizes == graph.dims:
        return dict(feeds(graph, seed))
    shapes = dict(graph.shapes)
    for name in graph.inputs:
        symbols = graph.dynamic.get(name) or (None,) * len(shapes[name])
        shapes[name] = tuple(
            n if s is None else sizes[s] for s, n in zip(symbols, shapes[name], strict=True)
        )
    return dict(feeds(replace(graph, shapes=shapes), seed))
