"""Which elements of a tensor are kept, at every size that its axes may have.

The analysis knows a tensor at one size of every symbol.  An axis that merges a symbol with channels
(`batch * heads`) repeats its channels as often as the symbol says: `Axis` is the pattern that is
repeated, and how, so that a mask can be laid out for any length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.labels import Image
from spa.trace import Kept

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Axis:
    """How the labels along an axis repeat: `outer` blocks, in each `inner` in turn, many times.

    Its length is `outer * times * inner` for any number of times.
    """

    number: int
    outer: int
    inner: int

    def places(self, length: int) -> NDArray[np.int64]:
        """For every position of an axis of this length, its place in the pattern."""
        i = np.arange(length)
        return i // max(1, length // self.outer) * self.inner + i % self.inner


@dataclass(frozen=True, eq=False)
class Layout:
    """A mask of which some axes are patterns that are repeated; those of size 1 fit any size."""

    mask: Mask
    axes: tuple[Axis, ...]

    def at(self, shape: tuple[int, ...]) -> Mask:
        """Which elements of a tensor of this shape are kept."""
        found = self.mask
        for axis in self.axes:
            found = found.take(axis.places(shape[axis.number]), axis=axis.number)
        return np.broadcast_to(found, shape)

    def tight(self) -> Layout:
        """Without axes along which the mask is the same: these may have any size."""
        mask = self.mask
        for a in (k for k, n in enumerate(mask.shape) if n > 1):
            head = mask.take([0], axis=a)
            mask = head if (mask == head).all() else mask
        return Layout(mask, self.axes)

    def kept(self, value: NDArray[np.generic]) -> NDArray[np.generic]:
        """What is left of a tensor of the masked original in the pruned model."""
        mask = self.at(value.shape)
        box = labels.extent(mask)
        if box is None:
            raise ValueError("what is kept is no box")
        return value[mask].reshape(box)


def layout_of(image: Image, left: Kept) -> Layout:
    """Which elements of a tensor are kept, as small as it can be said."""
    mask = np.ones((1,) * len(image.shape), bool)
    maps = [p for p in image.maps if left.touched(p)]
    for p in maps:
        mask = mask & left.flags[p.ids]
    axes = []
    for a, length in enumerate(image.shape):
        if mask.shape[a] <= 1:
            continue
        if (mask == mask.take([0], axis=a)).all():
            mask = mask.take([0], axis=a)
            continue
        varied = [np.moveaxis(p.ids, a, 0).reshape(length, -1) for p in maps if p.ids.shape[a] > 1]
        axis = _repeats(a, np.concatenate(varied, axis=1))
        if axis is not None:
            first = np.arange(axis.outer) * (length // axis.outer)
            places = (first[:, None] + np.arange(axis.inner)).ravel()
            mask = mask.take(places, axis=a)
            axes.append(axis)
    return Layout(mask, tuple(axes))


def _repeats(number: int, rows: NDArray[np.int64]) -> Axis | None:
    """The shortest pattern that an axis repeats; None where it repeats none."""
    length = len(rows)
    for size in range(1, length // 2 + 1):
        if length % size:
            continue
        for outer in (k for k in range(1, size + 1) if size % k == 0):
            axis = Axis(number, outer, size // outer)
            first = np.arange(outer) * (length // outer)
            places = (first[:, None] + np.arange(axis.inner)).ravel()
            if np.array_equal(rows[places][axis.places(length)], rows):
                return axis
    return None
