"""Allocations: how one budget is shared out among groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa.budgets.task import EXCESS, Choice, Task, allocation
from spa.coupling.model import KeptUnits

LAST = 10.0  # what the last channel of a group counts beyond all others
TURNS = 4  # allocations, each at the prices of the one before


@allocation()
def uniform(task: Task) -> Choice:
    """The same share of every group."""
    return task.reach(task.moves(task.scores, "local"))


@allocation()
def greedy(task: Task) -> Choice:
    """The channels with the least scores, wherever they are."""
    return task.reach(task.moves(task.scores, task.recipe.scope))


@allocation()
def curves(task: Task) -> Choice:
    """The least error in all, along the groups' error curves; with a scorer that measures.

    Errors are divided by prices, and the prices taken again at the choice they led to; the choice
    with the least error is kept.  Where scores only tell the channels of a group apart (those made
    for nets before training), the logarithm of the share that the group keeps takes the place of
    the error.  Scores of what does not measure are taken as `greedy` does.
    """
    if not task.recipe.measures:
        return greedy(task)
    if task.recipe.relative:
        task = replace(task, scores=shares_kept(task))
    found: list[Choice] = []
    kept = task.coupling.everything()
    for _ in range(TURNS if task.recipe.scope == "global" else 1):
        found.append(task.reach(task.moves(per_price(task, kept), task.recipe.scope)))
        kept = found[-1].kept
    return min(found, key=lambda choice: (choice.excess > EXCESS, task.lost(choice.kept)))


def shares_kept(task: Task) -> NDArray[np.float64]:
    """-log of the share that a group keeps of its scores, as scores that add up to it.

    The k-th worst channel of a group of which S is left counts log(S / (S - s_k)), so the last ones
    are beyond price: no group is cut down to a bottleneck because its gradients are small.
    """
    result = task.scores.copy()
    for group in task.coupling.groups:
        order = np.argsort(task.scores[group.cells], axis=1, kind="stable")
        own = np.take_along_axis(task.scores[group.cells], order, 1).mean(0)
        own = own - min(own[0], 0.0) + 1e-6 * (np.ptp(own) or 1.0)
        left = np.cumsum(own[::-1])[::-1]
        worth = np.append(np.log(left[:-1] / left[1:]), np.log(left[-1] / own[0]) + LAST)
        worth = np.maximum.accumulate(worth)
        for cell, ranks in zip(group.cells, order, strict=True):
            result[cell[ranks]] = worth
    return result


def per_price(task: Task, at: KeptUnits) -> NDArray[np.float64]:
    """Errors over what a channel of the group saves: the least error per saving goes first.

    What it saves depends on what is left of the others, so prices are taken where the choice `at`
    leaves them; a choice at its own prices is a stationary point of error + price · saving.
    """
    result = task.scores.copy()
    whole = task.price(task.coupling.everything())
    for group in task.coupling.groups:
        with_all, without = at.copy(), at.copy()
        with_all[group.cells], without[group.cells] = True, False
        saved = (task.price(with_all) - task.price(without)) / group.channels
        result[group.cells] /= max(saved, 1e-12 * whole)
    return result
