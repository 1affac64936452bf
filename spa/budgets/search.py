"""Take moves until the target is met, then give back what turns out not to be needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import limits
from spa.budgets.moves import NEVER, Moves, moves
from spa.coupling.cost import Cost
from spa.coupling.model import Coupling
from spa.errors import TargetError
from spa.recipe import Recipe

SLACK = 1e-3  # overshoot, as a share of the whole, that is not worth another look
TRIES = 400
EXCESS = 1e-2  # of the whole: beyond it, widths that suit the hardware less are tried
FINER: tuple[int, ...] = (8, 4, 1)
Alive = NDArray[np.bool_]


def allocate(coupling: Coupling, scores: NDArray[np.float64], recipe: Recipe) -> Alive:
    """Choose what is kept: bool `[labels]` by unit, the target met with as little excess as fits.

    With `round_to="auto"` the coarsest widths that come within `EXCESS` of the target are taken,
    or else those that come nearest.

    Raises:
        TargetError: nothing can be pruned, or the target is out of reach (says what is possible).
    """
    if recipe.round_to != "auto":
        return _meet(coupling, Cost(coupling), scores, recipe)[0]
    cost = Cost(coupling)
    found: list[tuple[float, int, Alive]] = []
    for turn, round_to in enumerate(("auto", *FINER)):
        try:
            alive, excess = _meet(coupling, cost, scores, replace(recipe, round_to=round_to))
        except TargetError:
            if not found and round_to == FINER[-1]:
                raise
            continue
        found.append((excess, turn, alive))
        if excess <= EXCESS:
            break
    return min(found, key=lambda f: f[:2])[2]


def _meet(
    coupling: Coupling, cost: Cost, scores: NDArray[np.float64], recipe: Recipe
) -> tuple[Alive, float]:
    """The choice for one width multiple, and by how much it removes more than asked for."""
    sequence = moves(coupling, scores, limits(coupling, recipe), recipe.scope)
    whole = cost(coupling.everything()).share(recipe.of)
    if whole == 0 or not (sequence.rank < NEVER).any():
        raise TargetError(f"nothing to prune: {_frozen(coupling)}")

    def removed(alive: Alive) -> float:
        return 1.0 - cost(alive).share(recipe.of) / whole

    best = removed(sequence.alive(len(sequence.group)))
    if best < recipe.ratio - 1e-12:
        raise TargetError(
            f"at most {100 * best:.1f} % of the {recipe.of} can be removed, not "
            f"{100 * recipe.ratio:g} % ({_frozen(coupling)}); lower --ratio, or loosen "
            "--max-layer-ratio, --min-channels, --round-to, --ignore or --only"
        )
    low, high = 0, len(sequence.group)
    while low < high:
        middle = (low + high) // 2
        if removed(sequence.alive(middle)) >= recipe.ratio:
            high = middle
        else:
            low = middle + 1
    alive = _give_back(sequence, low, recipe.ratio, removed)
    return alive, removed(alive) - recipe.ratio


def _give_back(sequence: Moves, count: int, ratio: float, removed: Callable[[Alive], float]) -> Alive:
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


def _frozen(coupling: Coupling) -> str:
    """The main reason why channels are frozen, in a few words."""
    reasons: Counter[str] = Counter()
    for frozen in coupling.frozen:
        reasons[frozen.reason.text] += frozen.channels
    if not reasons:
        return "no channel is made by a stored weight" if not coupling.groups else "the rest is not made of channels"
    text, channels = reasons.most_common(1)[0]
    return f"{channels} of {sum(reasons.values())} frozen channels because: {text}"
