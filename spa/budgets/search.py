"""Take moves until the target is met, then give back what turns out not to be needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit, limits
from spa.budgets.moves import NEVER, Moves, moves
from spa.budgets.reach import FRIENDLY, obstacle
from spa.coupling.cost import Channels, Cost
from spa.coupling.model import Coupling
from spa.errors import TargetError
from spa.recipe import Recipe

SLACK = 1e-3  # overshoot, as a share of the whole, that is not worth another look
TRIES = 400
TURNS = 4  # allocations, each at the prices of the one before
DETOURS = 20  # moves left out, one after the other, because they go far beyond the target
EXCESS = 1e-2  # of the whole: beyond it, widths that suit the hardware less are tried
Alive = NDArray[np.bool_]


class Share(Protocol):
    """What a choice costs, by name."""

    def share(self, of: str) -> float:
        """The figure called `of`."""


Price = Callable[[Alive], Share]
"""What keeping the units in `alive` costs, such as `Cost`."""


def allocate(coupling: Coupling, scores: NDArray[np.float64], recipe: Recipe) -> Alive:
    """Choose what is kept: bool `[labels]` by unit, the target met with as little excess as fits.

    With `round_to="auto"` the coarsest widths that come within `EXCESS` of the target are taken, or
    else those that come nearest; odd widths only where nothing else reaches it.

    Raises:
        TargetError: nothing can be pruned, or the target is out of reach (says what is possible).
    """
    cost = Channels(coupling) if recipe.of == "channels" else Cost(coupling)
    if recipe.round_to != "auto":
        return meet(coupling, cost, scores, recipe, limits(coupling, recipe), DETOURS)[0]
    found: list[tuple[float, int, Alive]] = []
    for turn, round_to in enumerate(FRIENDLY):
        try:
            detours = DETOURS if round_to == FRIENDLY[-1] else 0
            width = replace(recipe, round_to=round_to)
            bounds = limits(coupling, width)
            alive, excess = meet(coupling, cost, scores, width, bounds, detours)
        except TargetError:
            continue
        found.append((excess, turn, alive))
        if excess <= EXCESS:
            break
    if not found:
        width = replace(recipe, round_to=1)
        return meet(coupling, cost, scores, width, limits(coupling, width), DETOURS)[0]
    return min(found, key=lambda f: f[:2])[2]


def meet(
    coupling: Coupling,
    cost: Price,
    scores: NDArray[np.float64],
    recipe: Recipe,
    bounds: Sequence[Limit],
    detours: int = DETOURS,
) -> tuple[Alive, float]:
    """The choice within the limits, and by how much it removes more than asked for.

    Scores that are errors are divided by prices, and the prices taken again at the choice they led
    to; the choice with the least error is kept.

    Raises:
        TargetError: nothing can be pruned, or the target is out of reach.
    """
    priced = recipe.allocation == "curves" and recipe.measures
    scope = "local" if recipe.allocation == "uniform" else recipe.scope
    best: tuple[bool, float, float, Alive] | None = None
    alive = coupling.everything()
    units = np.concatenate([g.cells.ravel() for g in coupling.groups] or [np.zeros(0, np.int64)])
    for _ in range(TURNS if priced and scope == "global" else 1):
        worth = per_price(coupling, cost, scores, recipe.of, alive) if priced else scores
        sequence = moves(coupling, worth, bounds, scope)
        alive, excess = _reach(coupling, cost, sequence, bounds, recipe, detours)
        lost = float(scores[units] @ ~alive[units])
        found = (excess > EXCESS, lost, excess, alive)
        best = found if best is None else min(best, found, key=lambda f: f[:2])
    assert best is not None
    return best[3], best[2]


def _reach(
    coupling: Coupling,
    cost: Price,
    sequence: Moves,
    bounds: Sequence[Limit],
    recipe: Recipe,
    detours: int,
) -> tuple[Alive, float]:
    """Follow a sequence of moves until the target is met.

    Where the move that reaches the target goes far beyond it, up to `detours` times that move is
    left out and another way is tried.
    """
    whole = cost(coupling.everything()).share(recipe.of)
    if whole == 0 or not (sequence.rank < NEVER).any():
        raise TargetError(f"nothing to prune: {obstacle(coupling, recipe, bounds)}")

    def removed(alive: Alive) -> float:
        return (whole - cost(alive).share(recipe.of)) / whole

    most = removed(sequence.alive(len(sequence.group)))
    if most < recipe.ratio - 1e-12:
        why = obstacle(coupling, recipe, bounds)
        raise TargetError(
            f"at most {math.floor(1000 * most) / 10:g} % of the {recipe.of} can be removed, not "
            f"{100 * recipe.ratio:g} % ({why}); lower --ratio, or loosen "
            "--max-layer-ratio, --min-channels, --round-to, --ignore or --only"
        )
    found: list[tuple[float, Alive]] = []
    for _ in range(detours + 1):
        last = _shortest(sequence, recipe.ratio, removed)
        alive = _give_back(sequence, last, recipe.ratio, removed)
        found.append((removed(alive) - recipe.ratio, alive))
        if found[-1][0] <= EXCESS or last == 0:
            break
        sequence = sequence.without(last)
        if removed(sequence.alive(len(sequence.group))) < recipe.ratio:
            break
    excess, alive = min(found, key=lambda f: f[0])
    return alive, excess


def per_price(
    coupling: Coupling, cost: Price, scores: NDArray[np.float64], of: str, at: Alive
) -> NDArray[np.float64]:
    """Errors over what a channel of the group saves: the least error per saving goes first.

    What it saves depends on what is left of the others, so prices are taken where the choice `at`
    leaves them; a choice at its own prices is a stationary point of error + price · saving.
    """
    result = scores.copy()
    whole = cost(coupling.everything()).share(of)
    for group in coupling.groups:
        with_all, without = at.copy(), at.copy()
        with_all[group.cells], without[group.cells] = True, False
        saved = (cost(with_all).share(of) - cost(without).share(of)) / group.channels
        result[group.cells] /= max(saved, 1e-12 * whole)
    return result


def _shortest(sequence: Moves, ratio: float, removed: Callable[[Alive], float]) -> int:
    """How many moves it takes to remove `ratio`."""
    low, high = 0, len(sequence.group)
    while low < high:
        middle = (low + high) // 2
        if removed(sequence.alive(middle)) >= ratio:
            high = middle
        else:
            low = middle + 1
    return low


def _give_back(
    sequence: Moves, count: int, ratio: float, removed: Callable[[Alive], float]
) -> Alive:
    """Undo late moves, dearest first, as long as the target stays met."""
    alive = sequence.alive(count)
    blocked: set[int] = set()  # groups whose last move could not be undone
    for move in range(count, max(count - TRIES, 0), -1):
        if removed(alive) - ratio <= SLACK:
            break
        group = int(sequence.group[move - 1])
        if group in blocked:
            continue
        trial = alive | (sequence.rank == move)
        if removed(trial) >= ratio:
            alive = trial
        else:
            blocked.add(group)
    return alive
