"""What of a sum its shortcut alone can tell: a factor and a summand per channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.depth import Branch
from spa.rewrite.gated import StandIn

Array = NDArray[Any]
TINY = 1e-12


def standins(
    coupling: Coupling, branches: Sequence[Branch], runs: Iterable[Mapping[str, Any]]
) -> dict[str, StandIn]:
    """By name of a branch, what comes nearest to it by least squares, channel by channel.

    Args:
        coupling: the analysed model.
        branches: those of it that end in sums.
        runs: of every run, the values of the shortcuts and sums.
    """
    found: dict[str, _Sums] = {}
    for values in runs:
        for each in branches:
            x, y = np.asarray(values[each.shortcut]), np.asarray(values[each.name])
            if each.name not in found:
                found[each.name] = _Sums(_others(coupling, each.name, x.ndim))
            found[each.name].add(x, y)
    return {name: sums.fitted for name, sums in found.items()}


def _others(coupling: Coupling, name: str, rank: int) -> tuple[int, ...]:
    """The axes of a tensor that carry no channels."""
    image = coupling.notes.images.get(name)
    carrying = image.axes if image is not None else frozenset()
    return tuple(axis for axis in range(rank) if axis not in carrying or axis == 0)


class _Sums:
    """First and second moments of a shortcut and a sum, over all axes but those of channels."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes, self.count = axes, 0
        self.sums = np.zeros(4)
        """Of x, y, x² and xy."""

    def add(self, x: Array, y: Array) -> None:
        x, y = (each.astype(np.float64) for each in (x, y))
        self.count += int(np.prod([x.shape[axis] for axis in self.axes]))
        parts = [part.sum(axis=self.axes, keepdims=True) for part in (x, y, np.square(x), x * y)]
        self.sums = np.stack(parts) + self.sums.reshape(4, *self.sums.shape[1:] or [1] * x.ndim)

    @property
    def fitted(self) -> StandIn:
        """What is to be added to the shortcut."""
        x, y, square, product = self.sums / max(self.count, 1)
        spread, both = square - np.square(x), product - x * y
        usable = spread > TINY * square
        slope = np.divide(both, spread, out=np.ones_like(both), where=usable)
        return StandIn(np.nan_to_num(slope - 1.0), np.nan_to_num(y - slope * x))
