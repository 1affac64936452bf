"""What an allocation is given: a target, and the ways to meet it with as little excess as fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit
from spa.budgets.moves import NEVER, Moves, moves
from spa.budgets.reach import obstacle
from spa.budgets.units import Price
from spa.coupling.model import Coupling, KeptUnits
from spa.errors import TargetError
from spa.recipe import Recipe
from spa.registry import ALLOCATIONS, Registry

SLACK = 1e-3  # overshoot, as a share of the whole, that is not worth another look
TRIES = 400
EXCESS = 1e-2  # of the whole: beyond it, widths that suit the hardware less are tried


@dataclass(frozen=True, eq=False)
class Choice:
    """What is kept, bool `[labels]` by unit, and by how much more than asked for is removed."""

    kept: KeptUnits
    excess: float


Allocation = Callable[["Task"], Choice]
allocation: Registry[Allocation] = ALLOCATIONS


@dataclass(frozen=True, eq=False)
class Task:
    """A budget to be shared out.

    Attributes:
        coupling: the analysed graph.
        price: what a choice costs, in the unit of the budget.
        scores: what a unit is worth, float64 `[labels]`.
        recipe: `ratio` is the share to remove; `measures` says whether scores are errors.
        bounds: how many units of every cell of a group may go, group by group.
        detours: moves left out, one after the other, because they go far beyond the target.
    """

    coupling: Coupling
    price: Price
    scores: NDArray[np.float64]
    recipe: Recipe
    bounds: Sequence[Limit]
    detours: int

    def moves(self, scores: NDArray[np.float64], scope: str = "global") -> Moves:
        """All cuts within the bounds in an order, by scores, or by shares (`local`)."""
        return moves(self.coupling, scores, self.bounds, scope)

    def lost(self, kept: KeptUnits) -> float:
        """Summed scores of what is not kept."""
        cells = [g.cells.ravel() for g in self.coupling.groups]
        units = np.concatenate(cells or [np.zeros(0, np.int64)])
        return float(self.scores[units] @ ~kept[units])

    def reach(self, sequence: Moves) -> Choice:
        """Follow a sequence of moves until the target is met.

        Where the move that reaches the target goes far beyond it, up to `detours` times that move
        is left out and another way is tried.

        Raises:
            TargetError: nothing can be pruned, or the target is out of reach.
        """
        recipe, price = self.recipe, self.price
        whole = price(self.coupling.everything())
        if whole == 0 or not (sequence.rank < NEVER).any():
            why = obstacle(self.coupling, recipe, self.bounds)
            raise TargetError(f"nothing to prune: {why}")

        def removed(kept: KeptUnits) -> float:
            return (whole - price(kept)) / whole

        most = removed(sequence.kept(len(sequence.group)))
        if most < recipe.share - 1e-12:
            why = obstacle(self.coupling, recipe, self.bounds)
            raise TargetError(
                f"at most {math.floor(1000 * most) / 10:g} % of the {recipe.of} can be removed, "
                f"not {100 * recipe.share:g} % ({why}); lower --ratio, or loosen "
                "--set max-layer-ratio or --set min-channels, --round-to, --ignore or --only"
            )
        found: list[Choice] = []
        for _ in range(self.detours + 1):
            last = _shortest(sequence, recipe.share, removed)
            kept = _give_back(sequence, last, recipe.share, removed)
            found.append(Choice(kept, removed(kept) - recipe.share))
            if found[-1].excess <= EXCESS or last == 0:
                break
            sequence = sequence.without(last)
            if removed(sequence.kept(len(sequence.group))) < recipe.share:
                break
        return min(found, key=lambda choice: choice.excess)


def _shortest(sequence: Moves, ratio: float, removed: Callable[[KeptUnits], float]) -> int:
    """How many moves it takes to remove `ratio`."""
    low, high = 0, len(sequence.group)
    while low < high:
        middle = (low + high) // 2
        if removed(sequence.kept(middle)) >= ratio:
            high = middle
        else:
            low = middle + 1
    return low


def _give_back(
    sequence: Moves, count: int, ratio: float, removed: Callable[[KeptUnits], float]
) -> KeptUnits:
    """Undo late moves, dearest first, as long as the target stays met."""
    kept = sequence.kept(count)
    blocked: set[int] = set()  # groups whose last move could not be undone
    for move in range(count, max(count - TRIES, 0), -1):
        if removed(kept) - ratio <= SLACK:
            break
        group = int(sequence.group[move - 1])
        if group in blocked:
            continue
        trial = kept | (sequence.rank == move)
        if removed(trial) >= ratio:
            kept = trial
        else:
            blocked.add(group)
    return kept
