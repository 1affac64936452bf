"""Inputs of a run: one probe, made once, for scoring, fitting and judging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.executor.samples import BATCH, samples_for
from spa.executor.survey import Runs
from spa.executor.together import ENOUGH, stackable
from spa.graph import Graph
from spa.pipeline.context import Context
from spa.pipeline.labels import by_run
from spa.pipeline.values import Groups
from spa.probes import Probe, is_pictured, probe_for
from spa.recipe import Recipe
from spa.rules import trait_of

WIDE = 1 << 20
"""Numbers in the largest tensor of a row from which on a run holds no more rows than declared."""
MORE = 4
"""Times as many rows are drawn where lengths differ, so that some are of one length."""


def probe_of(groups: Groups, recipe: Recipe, context: Context) -> Probe:
    """What feeds the model; what was chosen, and why, is noted.

    Raises:
        UsageError: the options make no sense, or the data does not fit the model.
        ReadError: the data is damaged, or the model has inputs that nothing can feed.
    """
    probe = probe_for(
        groups.graph,
        kind=recipe.probe,
        seed=recipe.seed,
        calib=recipe.calib if groups.given is None else groups.given,
        input_range=recipe.input_range,
        mean=recipe.mean,
        std=recipe.std,
        counted=context.counted,
    )
    source = "" if recipe.calib is None else f"from {recipe.calib}: "
    context.note(f"inputs {source}{probe.why}")
    for note in probe.notes:
        context.note(note)
    return probe


def feeds_from(
    probe: Probe,
    graph: Graph,
    recipe: Recipe,
    context: Context,
    labels: NDArray[np.int64] | None = None,
) -> Runs:
    """Inputs to score and fit on, with their classes if those of all rows are given."""
    rows = probe.fitting(recipe.samples or samples_for(graph, recipe.memory))
    probe = _together(graph, probe, rows)
    feeds = Runs(_made(probe, rows, context))
    if labels is not None:
        feeds.labels = by_run(labels, probe, rows, feeds)
    context.note(f"values of these inputs: {_ranges(feeds)}")
    if recipe.calib is None and is_pictured(probe.kind) and _unanchored(graph):
        context.warn(
            "this model has depthwise convolutions and no BatchNormalization to hold made-up "
            "pictures to what it has seen: expect a loss; give photos of anything with "
            "--calib, or export it without folding BatchNormalization"
        )
    return feeds


def _made(probe: Probe, rows: Sequence[int], context: Context) -> Iterator[dict[str, NDArray[Any]]]:
    """Runs of these rows, which are counted."""
    done = context.counted(len(rows), "rows")
    for feeds in probe.runs(rows, BATCH):
        yield feeds
        done(probe.held(feeds))


def _together(graph: Graph, probe: Probe, rows: Sequence[int]) -> Probe:
    """`probe` with as many rows in a run as others have, where the model only declares fewer.

    Runs of large tensors cost the same one by one, and trying it would take as long as a pass.
    """
    size = probe.rows
    if size is None or size >= BATCH or any(s.axis != 0 for s in probe.streams):
        return probe
    made = (graph.shapes.get(name, ()) for node in graph.nodes for name in node.outputs)
    if max(map(prod, made), default=0) > size * WIDE:
        return probe
    drawn = ENOUGH if probe.lengths is None else MORE * ENOUGH
    few = list(probe.runs(rows[: drawn * size]))
    return replace(probe, rows=None) if stackable(graph, few) else probe


def _ranges(feeds: Runs) -> str:
    """The least and the largest number that each input was given."""
    told = []
    for name in feeds[0] if feeds else ():
        arrays = [feed[name] for feed in feeds if feed[name].size]
        if arrays and arrays[0].dtype.kind in "fiu":
            low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
            told.append(f"{name} {low:.4g}..{high:.4g}")
    return ", ".join(told) or "none are numbers"


def _unanchored(graph: Graph) -> bool:
    """Whether nothing in the file says what activations were like, in a net that suffers by it.

    Measured (docs/accuracy.md): with BatchNormalization folded a MobileNetV2 loses far more on
    synthetic pictures than with it, a plain residual net hardly.
    """
    depthwise = any(
        node.attrs.get("group", 1) == graph.shapes[node.outputs[0]][1] > 1
        for node in graph.nodes
        if trait_of(node).convolves and len(graph.shapes.get(node.outputs[0], ())) > 2
    )
    return depthwise and all(trait_of(node).statistics is None for node in graph.nodes)
