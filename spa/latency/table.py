"""Measured times of the pieces of a graph, at a grid of widths each.

Only distinct pieces are measured, the dearest first, as long as there is time; what is known from
another run is not measured again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit
from spa.coupling.model import Coupling
from spa.errors import ReadError
from spa.events import Callback, Started, Step, quiet
from spa.latency.extract import Trial, extract, timeable
from spa.latency.pieces import Piece, pieces
from spa.latency.stopwatch import Stopwatch
from spa.latency.store import Store
from spa.trace import Kept, MisplacedError

LEVELS = {1: 6, 2: 6, 3: 3}
"""Widths per axis, by the number of axes: all that a menu holds, where that can be."""
SECONDS = 60.0
AT_ONCE, NUMBERS = 24, 1 << 25
NEGLIGIBLE = 2e-4  # of the whole: its time is taken to follow its width
STAGE = "measure"
Point = tuple[int, ...]
Axes = tuple[tuple[int, ...], ...]  # by axis, the groups along it
Cuts = tuple[tuple[tuple[int, ...], ...], ...]
"""By axis, level and group, how many units are removed per cell."""
Levels = tuple[tuple[float, ...], ...]  # by axis and level, how many channels are kept


@dataclass(frozen=True, eq=False)
class Surface:
    """Times of one piece over its axes.

    `levels[a]` are ascending numbers of channels kept in the groups `axes[a]`; `times` are
    milliseconds, one per combination.  `known` is how many were measured, the rest is estimated.
    """

    piece: Piece
    axes: Axes
    levels: tuple[NDArray[np.float64], ...]
    times: NDArray[np.float64]
    known: int


@dataclass
class Tally:
    """Where the numbers of a table come from."""

    measured: int = 0
    cached: int = 0
    estimated: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class _Kind:
    """Pieces that do the same work: one of them is measured for all."""

    key: str
    piece: Piece
    axes: Axes
    cuts: Cuts
    levels: Levels
    count: int = 0
    found: dict[Point, float] = field(default_factory=dict)

    @property
    def full(self) -> Point:
        """The point at which nothing is cut."""
        return tuple(0 for _ in self.axes)

    def name(self, point: Point) -> str:
        """What the time at a point is called in a store."""
        at = [self.levels[a][k] for a, k in enumerate(point)]
        return hashlib.sha256(f"{self.key}{at}".encode()).hexdigest()[:24]

    def surface(self, piece: Piece, axes: Axes) -> Surface:
        """The measured grid, its gaps filled in proportion to what is kept."""
        times = np.full([len(level) for level in self.levels], np.nan)
        for point, taken in self.found.items():
            times[point] = taken
        whole = self.found.get(self.full, 0.0)
        for gap in np.argwhere(np.isnan(times)):
            shares = [self.levels[a][k] / self.levels[a][0] for a, k in enumerate(gap)]
            times[tuple(gap)] = whole * prod(shares)
        flipped = np.ascontiguousarray(np.flip(times))
        levels = tuple(np.array(level[::-1], np.float64) for level in self.levels)
        return Surface(piece, axes, levels, flipped.reshape(times.shape), len(self.found))


class Table:
    """Measures what it is asked for; one per graph, of which only the shapes matter.

    The store has what is known already; measuring may take so many `seconds` in all.
    """

    def __init__(
        self,
        coupling: Coupling,
        store: Store,
        stopwatch: Stopwatch,
        callback: Callback = quiet,
        *,
        seconds: float = SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.coupling, self.store = coupling, store
        self.stopwatch, self.callback = stopwatch, callback
        self.tally = Tally()
        self._now, self._left = now, seconds
        self._owner = coupling.owner[coupling.root]
        self._keys: dict[tuple[int, ...], str] = {}  # of pieces as they are
        self._own: set[str] = set()  # what this run has measured or looked up
        self._pieces = [(p, timeable(coupling, p)) for p in pieces(coupling)]

    def surfaces(self, bounds: Sequence[Limit]) -> tuple[Surface, ...]:
        """One surface per piece, over the widths that the limits allow."""
        began = self._now()
        self._deadline = began + self._left
        kinds, homes = self._kinds(bounds)
        try:
            self._measure([(kind, kind.full) for kind in kinds])
            whole = sum(k.found.get(k.full, 0.0) * k.count for k in kinds)
            self._measure(_grid(kinds, NEGLIGIBLE * whole))
        finally:
            self.store.flush()
        spent = self._now() - began
        self._left = max(0.0, self._left - spent)
        self.tally.seconds += spent
        self.tally.estimated = sum(prod(map(len, k.levels)) - len(k.found) for k in kinds)
        return tuple(kind.surface(piece, axes) for piece, axes, kind in homes)

    def _kinds(
        self, bounds: Sequence[Limit]
    ) -> tuple[list[_Kind], list[tuple[Piece, Axes, _Kind]]]:
        found: dict[str, _Kind] = {}
        homes = []
        everything = self._remainder(())
        for piece, can in self._pieces:
            axes, cuts, levels = self._levels(piece, bounds) if can else ((), (), ())
            key = f"untimed {piece.nodes}"
            if can:
                if piece.nodes not in self._keys:
                    self._keys[piece.nodes] = extract(self.coupling, piece, everything).key
                key = self._keys[piece.nodes] + self._wiring(piece, axes)
            told = f"{key}{levels}"
            kind = found.setdefault(told, _Kind(key, piece, axes, cuts, levels))
            kind.count += 1
            homes.append((piece, axes, kind))
        return [k for k in found.values() if not k.key.startswith("untimed")], homes

    def _levels(self, piece: Piece, bounds: Sequence[Limit]) -> tuple[Axes, Cuts, Levels]:
        """Axes that can shrink; their cuts and numbers of kept channels, level by level."""
        free = [a for a in piece.axes if any(len(bounds[g].steps) > 1 for g in a)]
        axes, cuts, levels = [], [], []
        for axis in free:
            most = min(LEVELS[len(free)], max(len(bounds[g].steps) for g in axis))
            spans = [np.linspace(0, len(bounds[g].steps) - 1, most).round() for g in axis]
            told: dict[float, tuple[int, ...]] = {}
            for k in range(most):
                removed = tuple(
                    int(bounds[g].steps[int(s[k])]) for g, s in zip(axis, spans, strict=True)
                )
                told.setdefault(self._kept(axis, removed), removed)
            axes.append(axis)
            cuts.append(tuple(told.values()))
            levels.append(tuple(told))
        return tuple(axes), tuple(cuts), tuple(levels)

    def _kept(self, axis: Sequence[int], removed: Sequence[int]) -> float:
        groups = [self.coupling.groups[g] for g in axis]
        return float(sum(len(g.cells) * (g.size - r) for g, r in zip(groups, removed, strict=True)))

    def _wiring(self, piece: Piece, axes: Sequence[tuple[int, ...]]) -> str:
        """Which axis moves which side of which tensor: equal shapes may be tied otherwise."""
        home = {g: a for a, axis in enumerate(axes) for g in axis}
        told = []
        for index in piece.nodes:
            for index_map in self.coupling.notes.couplings.maps(self.coupling.graph.nodes[index]):
                groups = np.unique(self._owner[index_map.ids])
                cells = [self.coupling.groups[g].cells.shape for g in groups if g in home]
                at = [home[g] for g in groups.tolist() if g in home]
                if at:
                    told.append((index_map.axes, index_map.ids.shape, at, cells))
        return repr(told)

    def _remainder(self, removed: Sequence[tuple[int, int]]) -> Kept:
        kept = self.coupling.everything()
        for group, count in removed:
            kept[self.coupling.groups[group].cells[:, :count]] = False
        return Kept(self.coupling.notes, self.coupling.root, kept)

    def _measure(self, wanted: Sequence[tuple[_Kind, Point]]) -> None:
        batch: list[tuple[_Kind, Point, Trial]] = []
        self.callback(Started(STAGE, len(wanted), "timings"))
        for kind, point in wanted:
            name = kind.name(point)
            known = self.store.get(name)
            late = self._now() > self._deadline and point != kind.full
            trial = None if known is not None or late else self._trial(kind, point)
            if trial is not None:
                batch.append((kind, point, trial))
                if len(batch) == AT_ONCE or sum(t.numbers for _, _, t in batch) > NUMBERS:
                    self._time(batch)
                    batch = []
                continue
            if known is not None:
                kind.found[point] = known
                self.tally.cached += name not in self._own
                self._own.add(name)
            elif not late:
                self.tally.failed += 1
            self.callback(Step(STAGE))
        if batch:
            self._time(batch)

    def _trial(self, kind: _Kind, point: Point) -> Trial | None:
        removed = [
            pair
            for axis, cuts, k in zip(kind.axes, kind.cuts, point, strict=True)
            for pair in zip(axis, cuts[k], strict=True)
        ]
        try:
            return extract(self.coupling, kind.piece, self._remainder(removed))
        except (MisplacedError, ReadError):
            return None

    def _time(self, batch: Sequence[tuple[_Kind, Point, Trial]]) -> None:
        times = self.stopwatch([trial for _, _, trial in batch])
        for (kind, point, _), taken in zip(batch, times, strict=True):
            if taken is None:
                self.tally.failed += 1
                continue
            kind.found[point] = taken
            name = kind.name(point)
            self._own.add(name)
            self.store.put({name: taken})
            self.tally.measured += 1
        self.callback(Step(STAGE, len(batch)))


def _grid(kinds: Sequence[_Kind], least: float) -> list[tuple[_Kind, Point]]:
    """What is left to measure: the ends of all axes first, then the rest, dear pieces first."""
    points = []
    for kind in kinds:
        worth = kind.found.get(kind.full, 0.0) * kind.count
        if worth <= least:
            continue
        for point in product(*(range(len(level)) for level in kind.levels)):
            ends = all(k in (0, len(kind.levels[a]) - 1) for a, k in enumerate(point))
            if point != kind.full:
                points.append((not ends, -worth, kind, point))
    points.sort(key=lambda p: p[:2])
    return [(kind, point) for _, _, kind, point in points]
