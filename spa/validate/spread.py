"""How far an output moved, in units of how far it varies from row to row.

A large part of an output may say the same on every input: the mean of a logit, the offset of a
box, a channel that never fires.  Such parts would hide what the rest does, so every column is
centred over all else.  Parts in other units (boxes in pixels beside scores below 1) hide one
another too, so that columns whose spreads lie far apart are measured apart.  Which axis holds the
columns is not known; the one along which the output moved most is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shape = tuple[int, ...]

ROUNDING = 16
"""A spread below so many units in the last place of what is stored is rounding, no variation."""
COARSEST = 0.02
"""But no spread above this share of the level is taken for rounding, in whatever type."""
APART = 10.0
"""Columns are of another unit where the next larger spread is more than so many times theirs."""
CAP = 2.0
"""The most a unit may drift for that counts, unless it holds most of the energy: outputs that have
nothing to do with one another differ by 1.4, and a column that hardly ever fires by any number."""
SUM = 1e-3  # entries along an axis that sum to 1 so exactly are shares of one whole, so of one unit


@dataclass
class _Sums:
    """Per column: how many entries, their sum and squares (less a first guess), squares of gaps."""

    guess: Floats
    count: Floats
    total: Floats
    square: Floats
    gap: Floats


class Spread:
    """The differences of one output over all runs, beside its own variation."""

    def __init__(self, precision: float) -> None:
        self._precision = min(ROUNDING * precision, COARSEST)
        self._first: dict[Shape, Floats] = {}
        self._repeated = self._varied = False
        self._seen: dict[int | None, list[_Sums]] = {}
        self._fixed: dict[int, set[int]] = {}
        self._shares: dict[int | None, bool] = {None: True}

    def add(self, old: Floats, new: Floats, finite: NDArray[np.bool_]) -> None:
        """Take rows; entries that are not `finite` count nothing."""
        if not old.size:
            return
        if old.ndim < 2:
            old, new = old.reshape(-1, 1), new.reshape(-1, 1)
            finite = finite.reshape(-1, 1)
        old, new = np.where(finite, old, 0.0), np.where(finite, new, 0.0)
        self._look(old)
        gap = np.square(old - new)
        for axis in (None, *range(1, old.ndim)):
            self._sum(axis, old, gap, finite)

    def _look(self, old: Floats) -> None:
        """Whether rows differ, and along which axes entries are shares of one whole."""
        known = old.shape[1:] in self._first
        first = self._first.setdefault(old.shape[1:], old[0])
        self._repeated |= known or len(old) > 1
        if not self._varied:
            least = self._precision * np.abs(first)
            self._varied = bool((np.abs(old - first) > least).any())
        for axis in range(1, old.ndim):
            whole = old.shape[axis] > 1 and bool(old.min() >= 0)
            whole = whole and bool((np.abs(old.sum(axis) - 1) < SUM).all())
            self._shares[axis] = self._shares.get(axis, True) and whole
            self._fixed.setdefault(axis, set()).add(old.shape[axis])

    def _sum(self, axis: int | None, old: Floats, gap: Floats, finite: NDArray[np.bool_]) -> None:
        others = tuple(k for k in range(old.ndim) if k != axis)
        shape = [n if k == axis else 1 for k, n in enumerate(old.shape)]
        count = np.asarray(finite.sum(others), float)
        seen = self._seen.setdefault(axis, [])
        if not seen:
            guess = np.asarray(old.sum(others)) / np.maximum(count, 1)
            seen.append(_Sums(guess, *(np.zeros(guess.shape) for _ in range(4))))
        sums = seen[0]
        if sums.count.shape != count.shape:
            return  # an axis whose size changes holds no columns
        apart = np.where(finite, old - sums.guess.reshape(shape), 0.0)
        sums.count += count
        sums.total += apart.sum(others)
        sums.square += np.square(apart).sum(others)
        sums.gap += gap.sum(others)

    @property
    def relative(self) -> float | None:
        """The root mean square of the difference over that of what varies; None: nothing varies."""
        if self._repeated and not self._varied:
            return None
        known = [each.drift(self._precision) for each in self._by_axis()]
        return max((d for d in known if d is not None), default=None)

    def _by_axis(self) -> Iterator[_Columns]:
        """All entries as one column, then the columns along each axis of a fixed size."""
        for axis, (sums,) in self._seen.items():
            if axis is not None and len(self._fixed[axis]) > 1:
                continue
            count = np.maximum(sums.count, 1)
            mean = sums.total / count
            varies = np.maximum(sums.square - sums.total * mean, 0.0)
            level = np.square(sums.guess + mean) + varies / count
            varies = varies / np.maximum(sums.count - 1, 1)
            varies, level, gap = np.atleast_1d(varies, level, sums.gap / count)
            yield _Columns(varies, level, gap, self._shares[axis])


@dataclass(frozen=True)
class _Columns:
    """Per column: variance, mean square of the level, mean square of the gap."""

    varies: Floats
    level: Floats
    gap: Floats
    one_unit: bool

    def drift(self, precision: float) -> float | None:
        """Columns of one unit by their energies, units by how many columns they have."""
        counts = self.varies > precision**2 * self.level
        if not counts.any():
            return None
        order = np.argsort(self.varies[counts])
        varies, gap = self.varies[counts][order], self.gap[counts][order]
        breaks = np.flatnonzero(varies[1:] > APART**2 * varies[:-1]) + 1
        if self.one_unit:
            breaks = breaks[:0]
        units = [(v.sum(), g.sum(), len(v)) for v, g in _split(varies, gap, breaks)]
        still = float(self.gap[~counts].sum())
        most = max(range(len(units)), key=lambda k: units[k][0])
        squares = 0.0
        for k, (energy, moved, width) in enumerate(units):
            share = (moved + still) / energy if k == most else min(moved / energy, CAP**2)
            squares += width / len(varies) * share
        return math.sqrt(squares)


def _split(varies: Floats, gap: Floats, at: NDArray[np.intp]) -> Iterator[tuple[Floats, Floats]]:
    yield from zip(np.split(varies, at), np.split(gap, at), strict=True)
