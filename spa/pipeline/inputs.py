"""Inputs of a run: one probe, made once, for scoring, fitting and judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from spa.executor.samples import BATCH, samples_for
from spa.graph import Graph
from spa.pipeline.journal import Journal
from spa.probes import Probe, probe_for
from spa.recipe import Recipe

Feeds = Sequence[Mapping[str, NDArray[Any]]]


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
            calib=recipe.calib,
            input_range=recipe.input_range,
            mean=recipe.mean,
            std=recipe.std,
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
            journal.feeds = list(probe.runs(rows, BATCH))
    return journal.feeds
