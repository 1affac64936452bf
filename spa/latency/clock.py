"""What a choice would take, from measured pieces: quick enough to be asked by a budget search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from spa.coupling.model import Coupling, KeptUnits
from spa.latency.pieces import MOST_AXES
from spa.latency.table import Surface


class Clock:
    """`Clock(coupling, surfaces, whole)(kept)` predicts the time of a choice.

    Between measured widths it is interpolated along every axis.  The times of the pieces are
    scaled so that, with the `overhead` of a run, they add up to what the `whole` model takes (both
    in milliseconds).  Where some piece could not be timed, what is missing is its time instead.
    """

    def __init__(
        self, coupling: Coupling, surfaces: Sequence[Surface], whole: float, overhead: float = 0.0
    ) -> None:
        self.coupling, self.surfaces = coupling, tuple(surfaces)
        moving = [s for s in surfaces if s.axes]
        cells = [g.cells.ravel() for g in coupling.groups]
        self._units = np.concatenate(cells) if cells else np.zeros(0, np.int64)
        self._starts = np.cumsum([0, *map(len, cells)])[:-1]
        self._lay(moving)
        self._scale, self._rest = 1.0, 0.0
        total = sum(float(s.times[(-1,) * s.times.ndim]) for s in surfaces)
        self._rest = total - self._moving(coupling.everything())
        left = max(whole - overhead, 0.0)
        if total > left or all(s.known for s in surfaces):
            self._scale = left / total if total else 1.0
        self.between = whole - self._scale * total
        """Milliseconds that no piece accounts for."""

    @property
    def scale(self) -> float:
        """What times of pieces alone are multiplied by, so that they add up to the model's."""
        return self._scale

    def __call__(self, kept: KeptUnits) -> float:
        """Milliseconds of one inference with what is kept: bool `[labels]` by unit."""
        parts = self._rest + self._moving(kept)
        return self._scale * parts + self.between

    def _lay(self, moving: Sequence[Surface]) -> None:
        """Surfaces end to end, all with `MOST_AXES` axes: those that are missing never move."""
        several, longest = len(moving), max((max(s.times.shape) for s in moving), default=1)
        self._levels = np.full((several, MOST_AXES, max(longest, 2)), np.inf)
        self._levels[:, :, 0], self._levels[:, :, 1] = 0.0, 1.0
        self._count = np.full((several, MOST_AXES), 2)
        self._stride = np.zeros((several, MOST_AXES), np.int64)
        slots, groups = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for k, surface in enumerate(moving):
            strides = np.array(surface.times.strides) // surface.times.itemsize
            for a, (axis, level) in enumerate(zip(surface.axes, surface.levels, strict=True)):
                slots.append(np.full(len(axis), k * MOST_AXES + a))
                groups.append(np.array(axis))
                if len(level) > 1:
                    self._levels[k, a, :] = np.inf
                    self._levels[k, a, : len(level)] = level
                    self._count[k, a] = len(level)
                    self._stride[k, a] = strides[a]
        self._slots, self._groups = np.concatenate(slots), np.concatenate(groups)
        self._times = np.concatenate([s.times.ravel() for s in moving] or [np.zeros(0)])
        self._offset = np.cumsum([0, *(s.times.size for s in moving)])[:-1]

    def _moving(self, kept: KeptUnits) -> float:
        """Milliseconds of the pieces that can shrink."""
        several = len(self._offset)
        if not several:
            return 0.0
        counts = np.add.reduceat(kept[self._units].astype(np.float64), self._starts)
        at = np.bincount(self._slots, counts[self._groups], several * MOST_AXES)
        at = at.reshape(several, MOST_AXES)
        low = np.clip((at[:, :, None] >= self._levels).sum(2) - 1, 0, self._count - 2)
        left = np.take_along_axis(self._levels, low[:, :, None], 2)[:, :, 0]
        right = np.take_along_axis(self._levels, low[:, :, None] + 1, 2)[:, :, 0]
        # below the narrowest width that was measured the line goes on
        part = np.minimum((at - left) / (right - left), 1.0)
        base = self._offset + (low * self._stride).sum(1)
        total = np.zeros(several)
        for corner in product((0, 1), repeat=MOST_AXES):
            weight = np.where(corner, part, 1.0 - part).prod(1)
            total += weight * self._times[base + self._stride @ np.array(corner)]
        return float(np.maximum(total, 0.0).sum())
