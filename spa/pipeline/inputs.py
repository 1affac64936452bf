"""Inputs of a run: one probe, made once, for scoring, fitting and judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from spa.executor.samples import BATCH, samples_for
from spa.executor.together import ENOUGH, stackable
from spa.graph import Graph
from spa.pipeline.journal import Journal
from spa.probes import Probe, check_given, is_pictured, probe_for
from spa.recipe import Recipe
from spa.rules import trait_of

Feeds = Sequence[Mapping[str, NDArray[Any]]]


def check_inputs(graph: Graph, recipe: Recipe, journal: Journal) -> None:
    """Read the data given, and refuse them, before any work, where they do not fit.

    Raises:
        UsageError: they do not.
        ReadError: they are damaged.
    """
    if recipe.calib is not None:
        pixels = recipe.input_range, recipe.mean, recipe.std
        journal.data = check_given(graph, recipe.probe, recipe.calib, *pixels)


def probe_of(graph: Graph, recipe: Recipe, journal: Journal) -> Probe:
    """What feeds the model; what was chosen, and why, is noted.

    Raises:
        UsageError: the options make no sense, or the data does not fit the model.
        ReadError: the data is damaged, or the model has inputs that nothing can feed.
    """
    if journal.probe is None:
        journal.probe = probe_for(
            graph,
            kind=recipe.probe,
            seed=recipe.seed,
            calib=recipe.calib if journal.data is None else journal.data,
            input_range=recipe.input_range,
            mean=recipe.mean,
            std=recipe.std,
            counted=journal.counted,
        )
        source = "" if recipe.calib is None else f"from {recipe.calib}: "
        journal.note(f"inputs {source}{journal.probe.why}")
        for note in journal.probe.notes:
            journal.note(note)
    return journal.probe


def probe_feeds(graph: Graph, recipe: Recipe, journal: Journal) -> Feeds:
    """Inputs to score and fit on; raises as `probe_of` does."""
    if not journal.feeds:
        with journal.stage("probe"):
            probe = probe_of(graph, recipe, journal)
            rows = probe.fitting(recipe.samples or samples_for(graph, recipe.memory))
            journal.feeds = list(_made(_together(graph, probe, rows), rows, journal))
            journal.note(f"values of these inputs: {_ranges(journal.feeds)}")
        if recipe.calib is None and is_pictured(probe.kind) and _unanchored(graph):
            journal.warn(
                "this model has depthwise convolutions and no BatchNormalization to hold made-up "
                "pictures to what it has seen: expect a loss; give photos of anything with "
                "--calib, or export it without folding BatchNormalization"
            )
    return journal.feeds


def _made(probe: Probe, rows: Sequence[int], journal: Journal) -> Iterator[dict[str, NDArray[Any]]]:
    """Runs of these rows, which are counted."""
    done = journal.counted(len(rows), "rows")
    for feeds in probe.runs(rows, BATCH):
        yield feeds
        done(probe.held(feeds))


def _together(graph: Graph, probe: Probe, rows: Sequence[int]) -> Probe:
    """`probe` with as many rows in a run as others have, where the model only declares fewer."""
    size = probe.rows
    if size is None or size >= BATCH or any(s.axis != 0 for s in probe.streams):
        return probe
    few = list(probe.runs(rows[: ENOUGH * size]))
    return replace(probe, rows=None) if stackable(graph, few) else probe


def _ranges(feeds: Feeds) -> str:
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
