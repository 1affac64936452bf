"""Inputs to tune on, and others of the same source to judge on that nothing is fitted on.

Where made-up inputs were moved until they fit what the file tells (`spa.pipeline.settle`), those
come first, and inputs as they were made fill up what is missing of both kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import UsageError
from spa.graph import Graph
from spa.pipeline.labels import in_order, labels_of
from spa.pipeline.values import Groups
from spa.probes import Probe, varied
from spa.recipe import Recipe

Array = NDArray[Any]
Feeds = Mapping[str, Array]

BATCH = 64
"""Rows of a step."""

MOST_ROWS = 1024
"""Made-up rows that are tuned on."""
VIEWS = 4
"""Ways in which a picture is seen, see `_views`."""
HELD = 128
"""Rows to judge on; with 50 the better of two results is often the worse one."""
LEAST_HELD = 100
"""Fewer are worth a warning."""
EVERY = 5
"""Of rows from files one in so many may be kept for judging."""
WORK = 5e11
"""Multiply-accumulates that the original may spend on them: a minute on two cores."""
ROOM = 1 << 28
"""Bytes that they may take."""


@dataclass(frozen=True)
class Rows:
    """Numbers of rows of a probe: to tune on, and to judge on."""

    fit: tuple[int, ...]
    held: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs for one purpose: runs, how many rows they hold, and the classes of those rows."""

    runs: Sequence[Feeds]
    rows: int
    labels: Array | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """Inputs to tune on (`fit`) and to judge on (`held`); `kind` says what they are.

    Rows to tune on are there in so many `views`, one after the other, see `_views`.
    """

    fit: Part
    held: Part
    kind: str
    views: int = 1


def source_of(
    probe: Probe, original: Groups, recipe: Recipe, moved: Sequence[Feeds], labels: object = None
) -> Source:
    """Inputs to tune on.

    Args:
        probe: what feeds the model.
        original: the analysed model.
        recipe: of the run.
        moved: inputs that were moved by gradients, if there are any.
        labels: classes of the rows of `--calib`, or None.

    Raises:
        UsageError: there are none to judge on, or labels do not fit.
        ReadError: labels cannot be read.
    """
    graph, macs = original.graph, original.sizes.macs
    rows = rows_of(probe, graph, macs, recipe.samples)
    known = None if labels is None else labels_of(labels, probe.available)

    def part(chosen: Sequence[int]) -> Part:
        own = None if known is None else in_order(known, probe, chosen)
        return Part(list(probe.runs(chosen, BATCH)), len(chosen), own)

    def source(fit: Part, held: Part, kind: str) -> Source:
        views = 1
        if any(stream.picture for stream in probe.streams):
            most = _affordable(probe, graph, macs)
            views = max(1, min(VIEWS, int(most / max(fit.rows, 1))))
        return Source(_views(fit, probe, views, recipe.seed), held, kind, views)

    if not moved:
        return source(part(rows.fit), part(rows.held), probe.kind)
    fit, held = _divided(moved)
    few = sum(map(probe.held, fit)), sum(map(probe.held, held))
    most = min(len(rows.fit), MOST_ROWS)
    plain = part(rows.fit[: max(0, most - few[0])]), part(rows.held[: max(0, HELD - few[1])])
    return source(
        Part([*fit, *plain[0].runs], few[0] + plain[0].rows),
        Part([*held, *plain[1].runs], few[1] + plain[1].rows),
        "moved",
    )


def _views(part: Part, probe: Probe, count: int, seed: int) -> Part:
    """Rows of pictures, each seen in so many ways: as they are, then shifted and mirrored.

    Measured (docs/howto/tune.md): of a thousand real pictures, tuned for long, worth half a point.
    """
    random = np.random.default_rng(seed)
    more = [varied(run, probe.streams, random) for _ in range(count - 1) for run in part.runs]
    labels = None if part.labels is None else np.tile(part.labels, count)
    return Part([*part.runs, *more], part.rows * count, labels)


def _affordable(probe: Probe, graph: Graph, macs: float) -> float:
    """Rows that the original may be asked about, and that there is room for."""
    size = sum(prod(graph.shapes[s.name]) * s.dtype.itemsize for s in probe.streams)
    return min(MOST_ROWS * VIEWS, WORK / max(macs, 1), ROOM / max(size, 1))


def _divided(runs: Sequence[Feeds]) -> tuple[list[Feeds], list[Feeds]]:
    """Runs of moved inputs in two, one row in `EVERY` (at most `HELD`) in the second."""
    joined = {name: np.concatenate([feeds[name] for feeds in runs]) for name in runs[0]}
    count = len(next(iter(joined.values())))
    spared = np.zeros(count, bool)
    spared[:: max(EVERY, -(-count // HELD))] = True
    return tuple(  # type: ignore[return-value]
        [
            {name: array[where][k : k + BATCH] for name, array in joined.items()}
            for k in range(0, int(where.sum()), BATCH)
        ]
        for where in (~spared, spared)
    )


def rows_of(probe: Probe, graph: Graph, macs: float, samples: int | None) -> Rows:
    """Which rows to tune on, and which to judge on; these also hold those that drift is told of.

    Args:
        probe: what feeds the model.
        graph: the model.
        macs: what one row costs.
        samples: the most to tune on, where a person says so.

    Raises:
        UsageError: none can be spared to judge on.
    """
    if probe.available is None:
        held, apart = probe.fresh(HELD)
        few = min(MOST_ROWS, _affordable(probe, graph, macs))
        fit = probe.fitting(samples or max(EVERY, int(few)))
    else:
        spared, apart = probe.fresh(probe.available)
        rest = probe.fitting(probe.available)
        more = _evenly(rest, probe.rows or 1, min(HELD - len(spared), len(rest) // EVERY))
        held = sorted((*spared, *more))
        fit = [row for row in rest if row not in set(more)][:samples]
    if not apart or not fit:
        raise UsageError(
            "tuning is judged on inputs that nothing is fitted on, and there are none to spare; "
            "give 100 or more different ones with --calib"
        )
    return Rows(tuple(fit), tuple(held))


def _evenly(rows: Sequence[int], size: int, count: int) -> list[int]:
    """About so many of these rows, spread evenly; runs of `size` stay together."""
    runs = len(rows) // size
    few = min(runs - 1, max(0, count) // size)
    starts = [k * runs // few for k in range(few)] if few > 0 else []
    return [row for start in starts for row in rows[start * size : (start + 1) * size]]
