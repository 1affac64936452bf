"""`probe`: inputs for a model, written for other tools."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError
from spa.events import Callback, quiet
from spa.executor.samples import BATCH, samples_for
from spa.executor.survey import Runs
from spa.graph import Graph
from spa.pipeline.context import Context
from spa.pipeline.inputs import probe_of
from spa.pipeline.invert import improved, seconds_of
from spa.pipeline.load import couple, load
from spa.pipeline.report import reporting
from spa.probes import Probe
from spa.probes.probe import Lengths
from spa.recipe import Recipe
from spa.reports.probe import Made
from spa.storage import check_place, replaced
from spa.storage.arrays import npz

Array = NDArray[Any]


def probe(
    model: Any,
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    output: str | os.PathLike[str],
    samples: int | None = None,
    minutes: float | None = None,
    force: bool = False,
) -> Made:
    """Write inputs for a model, one array per input.

    Args:
        model: a path, bytes, a stream or a ModelProto.
        recipe: what inputs to make, and the seed.
        callback: is called with every event of progress.
        output: an .npz, written at once.
        samples: how many rows; by default as many as `prune` would take.
        minutes: for moving them by gradients; None leaves them as they were made up.
        force: whether an existing output may be replaced.

    Raises:
        ReadError: the model cannot be read, or nothing can feed it.
        UsageError: there is no torch, or the output cannot be written.
    """
    context = Context("probe", callback)
    with reporting(context):
        recipe = replace(recipe, invert="off" if minutes is None else 60.0 * minutes).validate()
        seconds_of(recipe, "give --plain for inputs as they are made")
        check_place(output, "the output", force=force)
        groups = couple(load(model, recipe, context), recipe, context)
        with context.stage("probe"):
            made, feeds = _drawn(probe_of(groups, recipe, context), groups.graph, samples, recipe)
        better = improved(feeds, made, groups, recipe, context, keep=True)
        arrays = {s.name: _joined(better, s.name, s.axis) for s in made.streams}
        contents = npz(arrays)
        replaced(Path(output), contents, "the output", "choose another place")
    return Made(
        path=str(output),
        bytes=len(contents),
        inputs={name: [x.dtype.name, [*x.shape]] for name, x in arrays.items()},
        ranges={name: _range(x) for name, x in arrays.items()},
        moved=better is not feeds,
        why=made.why,
        notes=[*context.notes],
        seconds=context.seconds,
    )


def _drawn(made: Probe, graph: Graph, samples: int | None, recipe: Recipe) -> tuple[Probe, Runs]:
    """Rows of one length, and what makes them."""
    if not made.streams:
        raise ReadError("a model without inputs needs none")
    if made.lengths is not None:
        typical = made.lengths.typical
        made = replace(made, lengths=Lengths(recipe.seed, typical, typical))
    rows = made.fitting(samples or samples_for(graph, recipe.memory))
    return made, Runs(made.runs(rows, BATCH))


def _joined(feeds: Sequence[Mapping[str, Array]], name: str, axis: int | None) -> Array:
    """All rows of an input; the first run's where it has no rows."""
    several = [feed[name] for feed in feeds]
    return several[0] if axis is None else np.concatenate(several, axis)


def _range(x: Array) -> list[float] | None:
    return [float(x.min()), float(x.max())] if x.size and x.dtype.kind in "fiu" else None
