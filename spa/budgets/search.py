"""Chooses what is kept: the target met within the limits, at widths that suit the hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit, limits
from spa.budgets.reach import FRIENDLY
from spa.budgets.task import EXCESS, Choice, Task, allocation
from spa.budgets.units import Price
from spa.coupling.model import Coupling, KeptUnits
from spa.errors import TargetError, UsageError
from spa.recipe import Recipe
from spa.registry import UNITS

DETOURS = 20  # moves left out, one after the other, because they go far beyond the target


def allocate(coupling: Coupling, scores: NDArray[np.float64], recipe: Recipe) -> KeptUnits:
    """Choose what is kept: bool `[labels]` by unit, the target met with as little excess as fits.

    With `round_to="auto"` the coarsest widths that come within `EXCESS` of the target are taken, or
    else those that come nearest; odd widths only where nothing else reaches it.

    Raises:
        TargetError: nothing can be pruned, or the target is out of reach (says what is possible).
    """
    price = UNITS.get(recipe.of)(coupling)
    if recipe.round_to != "auto":
        return meet(coupling, price, scores, recipe, limits(coupling, recipe)).kept
    found: list[tuple[float, int, KeptUnits]] = []
    for turn, round_to in enumerate(FRIENDLY):
        try:
            detours = DETOURS if round_to == FRIENDLY[-1] else 0
            width = replace(recipe, round_to=round_to)
            choice = meet(coupling, price, scores, width, limits(coupling, width), detours)
        except TargetError:
            continue
        found.append((choice.excess, turn, choice.kept))
        if choice.excess <= EXCESS:
            break
    if not found:
        width = replace(recipe, round_to=1)
        return meet(coupling, price, scores, width, limits(coupling, width)).kept
    return min(found, key=lambda f: f[:2])[2]


def meet(
    coupling: Coupling,
    price: Price,
    scores: NDArray[np.float64],
    recipe: Recipe,
    bounds: Sequence[Limit],
    detours: int = DETOURS,
) -> Choice:
    """The choice within the limits, as the recipe's allocation makes it.

    Raises:
        TargetError: nothing can be pruned, or the target is out of reach.
        UsageError: the allocation is somebody else's and keeps to no limits.
    """
    entry = allocation[recipe.allocation]
    task = Task(coupling, price, scores, recipe, bounds, detours)
    choice = entry.function(task)
    if entry.origin:
        _within(task, choice.kept, f"the allocation '{entry.name}' of {entry.origin}")
    return choice


def _within(task: Task, kept: KeptUnits, who: str) -> None:
    """Raise UsageError where a choice is none of those allowed."""
    if kept.shape != (task.coupling.notes.size,) or kept.dtype != bool:
        raise UsageError(f"{who} gives no bool per unit; begin with task.coupling.everything()")
    for group, limit in zip(task.coupling.groups, task.bounds, strict=True):
        gone = np.unique(np.count_nonzero(~kept[group.cells], axis=1))
        if len(gone) > 1 or gone[0] not in limit.steps or gone[0] < limit.forced:
            raise UsageError(
                f"{who} takes {', '.join(map(str, gone))} of {group.size} units from the group "
                f"{group.name}, where its limits allow {', '.join(map(str, limit.steps[:9]))}"
            )
    whole = task.price(task.coupling.everything())
    share = (whole - task.price(kept)) / whole
    if share < task.recipe.share - 1e-9:
        raise TargetError(
            f"{who} removes {100 * share:.4g} % of the {task.recipe.of}, not "
            f"{100 * task.recipe.share:g} %; lower --ratio, or choose another allocation"
        )
