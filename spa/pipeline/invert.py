"""Made-up inputs, moved by gradients until they agree with what the file tells of its training.

With torch only, and used only where held-back terms say that they are better.  What was found is
kept in the user's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError, UsageError, install
from spa.executor import remembered
from spa.executor.samples import BATCH
from spa.executor.survey import Runs
from spa.pipeline.context import Context
from spa.pipeline.values import Groups
from spa.probes import Probe, is_pictured
from spa.recipe import Recipe

if TYPE_CHECKING:
    from spa.torch.invert import Inverted

STAGE = "invert"
SECONDS = 300.0
"""What may be spent unless told otherwise."""
MANY = 384
"""Moved inputs from which on others add nothing."""
BETTER = 0.95
"""Of what held-back terms missed before, at most so much is missed after."""
Array = NDArray[Any]


def installed() -> bool:
    """Whether there is torch."""
    return find_spec("torch") is not None


def seconds_of(recipe: Recipe, instead: str = "leave out --set invert") -> float | None:
    """The budget of a recipe; None where nothing is to be moved.

    Args:
        recipe: of the run.
        instead: what else helps where there is no torch.

    Raises:
        UsageError: it was asked for and there is no torch.
    """
    if recipe.invert == "off" or recipe.calib is not None:
        return None
    if installed():
        return SECONDS if recipe.invert == "auto" else float(recipe.invert)
    if recipe.invert == "auto":
        return None
    raise UsageError(
        f"inputs are moved by gradients, which need PyTorch; {install('torch')}, or {instead}"
    )


def improved(
    feeds: Runs,
    probe: Probe,
    groups: Groups,
    recipe: Recipe,
    context: Context,
    *,
    keep: bool = False,
) -> Runs:
    """Inputs to score and fit on: moved where that is better, else those that were made.

    Args:
        feeds: inputs as made.
        probe: what made them.
        groups: the analysed model.
        recipe: with the budget of seconds.
        context: of the run; it is told what was decided, and why.
        keep: only those that were moved, also where an interrupt ends that.

    Raises:
        UsageError: it was asked for and there is no torch.
    """
    seconds = seconds_of(recipe)
    pictured = is_pictured(probe.kind)
    if seconds is None:
        if pictured and recipe.calib is None and recipe.invert == "auto":
            context.note(
                "inputs stay as they were made up; with PyTorch they are moved until they agree "
                f"with what the file tells, and pruning loses less: {install('torch')}"
            )
        return feeds
    if not feeds or not (pictured or recipe.invert != "auto"):
        return feeds
    with context.stage(STAGE):
        try:
            made = inverted(feeds, groups, recipe, seconds, context, pictured=pictured, keep=keep)
        except ReadError as error:
            context.note(f"inputs are not moved by gradients: {error}")
            return feeds
    if made is None:
        return feeds
    better = made.after < BETTER * made.before
    told = f"{made.words} {made.before:.3g} before and {made.after:.3g} after"
    if not better:
        context.note(f"inputs moved by gradients are not used; held back: {told}")
        return feeds
    some = "" if made.complete else f", as many as {seconds:.0f} s were enough for"
    context.note(
        f"{len(made.inputs)} inputs were moved by {made.steps} steps of gradients until they agree "
        f"with what the file tells{some}; held back: {told} (--set invert=off leaves them)"
    )
    return Runs(_filled(made, () if keep else feeds))


def _filled(made: Inverted, feeds: Sequence[Mapping[str, Array]]) -> list[Mapping[str, Array]]:
    """In runs of the usual size; few are followed by inputs as made, up to as many as there were.

    Measured (docs/probes.md): few moved inputs alone tell less than many as made, many more.
    """
    if len(made.inputs) >= MANY:
        feeds = ()
    plain = [feed[made.name] for feed in feeds] or [made.inputs[:0]]
    rows = np.concatenate([made.inputs, np.concatenate(plain)[len(made.inputs) :]])
    return [{made.name: rows[k : k + BATCH]} for k in range(0, len(rows), BATCH)]


def inverted(
    feeds: Sequence[Mapping[str, Array]],
    groups: Groups,
    recipe: Recipe,
    seconds: float,
    context: Context,
    *,
    pictured: bool = True,
    keep: bool = False,
) -> Inverted | None:
    """Inputs moved within a budget, from the cache where they are known.

    Args:
        feeds: inputs as made.
        groups: the analysed model.
        recipe: with seed, device and memory.
        seconds: the budget.
        context: of the run.
        pictured: whether inputs are pictures.
        keep: whether an interrupt ends this with what there is.

    Returns:
        None where the budget pays for nothing of use.

    Raises:
        ReadError: nothing is known to move them to, or the model has no gradients.
    """
    from spa.torch.invert import invert, tell
    from spa.torch.kept import kept, place_of, remember
    from spa.torch.values import device_of
    from spa.torch.workload import price_of, work_for

    graph = groups.graph
    device = device_of(recipe.device, must=False).type
    known = remembered.stored(graph)
    means = () if known else remembered.centred(graph, feeds)
    told = tell(graph, feeds, known, means, pictured=pictured, device=device)
    price = price_of(graph, float(groups.sizes.macs))
    rows = sum(len(feed[told.moved]) for feed in feeds)
    work = work_for(
        price, rows, told.weights.steps, seconds, memory=recipe.memory, fast=device != "cpu"
    )
    if work is None:
        context.note(
            f"inputs are not moved by gradients: {seconds:g} s pay for too few of them; "
            "--set invert=SECONDS gives more time"
        )
        return None
    place = place_of(graph, feeds, told, work, (recipe.seed, seconds, device))
    found = kept(place, told)
    if found is not None:
        context.note("inputs moved by gradients were taken from the cache")
        return found
    context.note(f"{work.rows} inputs are moved by gradients, in {seconds:g} s at most")
    made = invert(
        told, feeds, work, seed=recipe.seed, seconds=seconds, keep=keep, counted=context.counted
    )
    if made is not None and place is not None and (made.complete or not keep):
        remember(place, made)
    return made
