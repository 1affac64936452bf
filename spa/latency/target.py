"""Reach a share of the measured time: allocate by the table, time the result, correct the aim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa.budgets.limits import Limit, limits
from spa.budgets.moves import moves
from spa.budgets.search import meet
from spa.coupling.analyse import misplaced
from spa.coupling.model import Coupling, KeptUnits
from spa.errors import TargetError
from spa.latency.bottlenecks import Bottleneck, bottlenecks, why
from spa.latency.clock import Clock
from spa.latency.menu import menus, paying
from spa.latency.table import Table
from spa.recipe import Recipe
from spa.rewrite import rewrite

TOLERANCE = 0.01
"""Of the whole: how far below the target a measurement may be and count as having met it."""
EXCESS = 0.03  # of the whole: how far above the target nobody looks for a closer choice
TURNS = 6
LEAST = 1e-3
WIDTHS: tuple[int | Literal["auto"], ...] = ("auto", 8, 4)


class Timed(Protocol):
    """The unpruned model on this machine; see `spa.latency.stopwatch.Whole`."""

    fastest: float
    overhead: float
    left: float

    def removed(self, small: ModelProto) -> float:
        """The share of the time that a pruned model saves."""


@dataclass(frozen=True, eq=False)
class Aim:
    """One choice: what the table says that it saves, and what was measured, as shares.

    `measured` is None where the choice does not fit and nothing could be built.
    """

    kept: KeptUnits
    predicted: float
    measured: float | None

    @property
    def share(self) -> float:
        """What was measured."""
        return -math.inf if self.measured is None else self.measured


@dataclass(frozen=True, eq=False)
class Reached:
    """A choice that meets the target, and how it was found."""

    aim: Aim
    turns: int
    bottlenecks: tuple[Bottleneck, ...]


def reach(
    coupling: Coupling,
    scores: NDArray[np.float64],
    recipe: Recipe,
    table: Table,
    whole: Timed,
) -> Reached:
    """Choose what is kept so that `recipe.share` of the measured time of the whole is gone.

    `coupling` may be without branches of it already: all of it is kept where that is enough.  A
    choice that does not fit at some node is returned as it is, unmeasured.

    Raises:
        TargetError: it cannot be reached; says how much can, as measured, and what holds the rest.
    """
    if whole.left <= 1 - recipe.share:
        gone = 1.0 - whole.left
        return Reached(Aim(coupling.everything(), gone, gone), 0, ())
    best: Aim | None = None  # that went furthest of those that miss the target
    found: list[Reached] = []
    clock: Clock | None = None
    for round_to in WIDTHS if recipe.round_to == "auto" else (recipe.round_to,):
        part = replace(recipe, round_to=round_to)
        allowed = menus(coupling, limits(coupling, part))
        taken = whole.fastest * whole.left
        clock = Clock(coupling, table.surfaces(allowed), taken, min(whole.overhead, taken))
        hunt = _Hunt(coupling, scores, part, allowed, clock, whole)
        aim = hunt.run()
        if aim.measured is None:
            return Reached(aim, hunt.turns, ())
        if aim.share >= recipe.share - TOLERANCE:
            found.append(Reached(aim, hunt.turns, bottlenecks(coupling, clock)))
            if aim.share <= recipe.share + 2 * EXCESS:
                break
        elif best is None or aim.share > best.share:
            best = aim
    if found:
        return min(found, key=lambda f: f.aim.share)
    assert best is not None and clock is not None
    raise TargetError(
        f"{out_of_reach(best.share, recipe)} ({why(bottlenecks(coupling, clock))}); "
        f"{milder(best.share, recipe)}, loosen --set max-layer-ratio or --set min-channels, "
        "--round-to, --ignore or --only, or count --of macs"
    )


def out_of_reach(most: float, recipe: Recipe) -> str:
    """What is said where no more than a share of the time can go, in the terms that were asked."""
    if recipe.speedup is None:
        told = f"{max(0, math.floor(1000 * most)) / 10:g} % of the latency can be removed"
        return f"at most {told} on this machine, as measured, not {100 * recipe.share:g} %"
    asked = f"not {1 / (1 - recipe.share):.4g} times"
    fastest = _fastest(most)
    if fastest <= 1:
        return f"narrower layers make it no faster on this machine, as measured, {asked}"
    return f"at most {fastest:g} times as fast on this machine, as measured, {asked}"


def milder(most: float, recipe: Recipe) -> str:
    """What to ask for instead, where no more than a share of the time can go."""
    fastest = _fastest(most)
    if recipe.speedup is None:
        return "lower --ratio"
    branches = ", let branches go (--depth auto)" if recipe.depth == "off" else ""
    less = f"ask for --speedup {fastest:g}" if fastest > 1 else "say --ratio in place of --speedup"
    return f"{less}{branches}"


def _fastest(most: float) -> float:
    """How many times as fast a model is without a share of its time, rounded down."""
    return max(1.0, math.floor(100 / max(1 - most, 0.01)) / 100)


@dataclass(eq=False)
class _Hunt:
    """One search, with widths of one kind."""

    coupling: Coupling
    scores: NDArray[np.float64]
    recipe: Recipe
    allowed: Sequence[Limit]
    clock: Clock
    whole: Timed
    turns: int = 0
    known: dict[bytes, Aim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bounds = paying(self.coupling, self.allowed, self.clock)
        if all(len(limit.steps) == 1 for limit in self.bounds):
            self.bounds = tuple(self.allowed)  # where no width pays, let the measurement say so
        self.full = self.clock(self.coupling.everything())

    def run(self) -> Aim:
        """The least choice that meets the target, else the one that goes furthest."""
        ratio = self.recipe.share
        low, high = 1.0 - self.whole.left, 1.0  # aims that gave too little, and enough
        tried: list[Aim] = []
        asked = ratio
        while self.turns < TURNS:
            aim, deepest = self._take(asked)
            if aim.measured is None:
                return aim
            tried.append(aim)
            if ratio - TOLERANCE <= aim.share <= ratio + EXCESS:
                break
            if aim.share < ratio:
                if deepest:
                    break
                low = max(low, asked)
            else:
                high = min(high, asked)
            asked = asked + ratio - aim.share
            if not low < asked < high:
                asked = (low + high) / 2
            if high - low < LEAST:
                break
        enough = [aim for aim in tried if aim.share >= ratio - TOLERANCE]
        if enough:
            return min(enough, key=lambda aim: aim.share)
        return max(tried, key=lambda aim: aim.share)

    def _take(self, asked: float) -> tuple[Aim, bool]:
        """The choice for one predicted share, and whether it is all that can go."""
        self.turns += 1
        deepest = False
        try:
            rest = 1.0 - (1.0 - asked) / self.whole.left
            kept = self._met(replace(self.recipe, ratio=rest))
        except TargetError:
            kept, deepest = self._deepest(), True
        key = kept.tobytes()
        if key not in self.known:
            self.known[key] = self._timed(kept)
        return self.known[key], deepest

    def _timed(self, kept: KeptUnits) -> Aim:
        predicted = 1.0 - self.whole.left * self.clock(kept) / self.full if self.full else 0.0
        if misplaced(self.coupling, kept):
            return Aim(kept, predicted, None)
        small = rewrite(self.coupling, kept, checked=True)
        return Aim(kept, predicted, self.whole.removed(small))

    def _deepest(self) -> KeptUnits:
        """All that the limits let go.

        Raises:
            TargetError: that is nothing.
        """
        sequence = moves(self.coupling, self.scores, self.bounds, "local")
        kept = sequence.kept(len(sequence.group))
        return self._met(self.recipe) if kept.all() else kept

    def _met(self, recipe: Recipe) -> KeptUnits:
        return meet(self.coupling, self.clock, self.scores, recipe, self.bounds).kept


def facts(reached: Reached, recipe: Recipe, table: Table, whole: Timed) -> dict[str, Any]:
    """The section `latency_budget` of a report."""
    machine, tally = table.store.machine, table.tally
    aim = reached.aim
    return {
        "asked": recipe.share,
        "predicted": aim.predicted,
        "measured": aim.measured,
        "tolerance": TOLERANCE,
        "before_ms": whole.fastest,
        "overhead_ms": whole.overhead,
        "provider": machine.provider,
        "threads": machine.threads or None,
        "cpu": machine.cpu,
        "turns": reached.turns,
        "points": {what: n for what, n in asdict(tally).items() if what != "seconds"},
        "seconds": tally.seconds,
        "cache": str(table.store.path) if table.store.path else None,
        "bottlenecks": list(map(asdict, reached.bottlenecks)),
    }


__all__ = ["Reached", "facts", "milder", "out_of_reach", "reach"]
