"""Channels of an activation: those that are kept, and those of cells found, read and silenced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.labels import Ids, Image, IndexMap, extent
from spa.trace import Kept

Array = NDArray[Any]


def places(index_map: IndexMap, root: Ids, cells: Ids) -> Ids | None:
    """Flat places in an index map of the units of `cells`, as `where` finds them."""
    return where(root[index_map.dense].ravel(), cells)


def where(units: Ids, cells: Ids) -> Ids | None:
    """Places in a row of units of those of `cells` `[cells, n]`, as `[cells present, n, times]`.

    Cells that are not there at all are left out.  None where there are none, or where units do not
    all occur equally often.
    """
    order = np.argsort(units, kind="stable")
    ranked = units[order]
    first = np.searchsorted(ranked, cells, "left")
    times = np.searchsorted(ranked, cells, "right") - first
    there = times.any(1)
    count = int(times.max(initial=0))
    if not count or (times[there] != count).any():
        return None
    return np.asarray(order[first[there][..., None] + np.arange(count)])


class Cells:
    """The `cells` `[cells, n]`, by unit, in the activation that has this image.

    Raises:
        ValueError: not every unit is there, or not equally often.
    """

    def __init__(self, image: Image, root: Ids, cells: Ids) -> None:
        for index_map in image.maps:
            at = places(index_map, root, cells)
            if at is not None and len(at) == len(cells):
                self.index_map, self.at = index_map, at
                return
        raise ValueError("the cells are not all there")

    def columns(self, x: Array) -> Array:
        """Their numbers, `[cells, n, samples, positions]`; axis 0 of what is left is the sample."""
        moved = self._front(x)
        rest = moved.shape[len(self.index_map.axes) :] or (1,)
        flat = moved.reshape(-1, rest[0], int(np.prod(rest[1:])))
        found = flat[self.at].swapaxes(2, 3)
        return np.asarray(found.reshape(*self.at.shape[:2], rest[0], -1))

    def silenced(self, x: Array, gone: NDArray[np.int64]) -> Array:
        """A copy of the activation in which the units numbered `gone` `[cells, k]` are 0."""
        copy = np.array(x)
        moved = self._front(copy)
        at = np.take_along_axis(self.at, gone[..., None], axis=1).ravel()
        moved[np.unravel_index(at, moved.shape[: len(self.index_map.axes)])] = 0
        return copy

    def _front(self, x: Array) -> Array:
        return np.moveaxis(x, self.index_map.axes, range(len(self.index_map.axes)))


def select(array: NDArray[Any], image: Image, left: Kept) -> NDArray[Any]:
    """An activation of the original without the elements that are removed.

    Sizes of axes without labels may differ from the analysis.

    Raises:
        ValueError: what is kept is no box.
    """
    for index_map in image.maps:
        if not left.touched(index_map):
            continue
        kept = left.kept(index_map, image.maps)  # with those that cross it, applied at once
        box = extent(kept)
        if box is None:
            raise ValueError("what is kept is no box")
        if any(array.shape[a] != n for a, n in zip(index_map.axes, kept.shape, strict=True)):
            continue  # another index map over the same axis has been applied
        if len(index_map.axes) == 1:
            array = array.take(np.flatnonzero(kept), index_map.axes[0])
            continue
        front = range(len(index_map.axes))
        moved = np.moveaxis(array, index_map.axes, front)
        array = np.moveaxis(
            moved[kept].reshape(*box, *moved.shape[kept.ndim :]), front, index_map.axes
        )
    return array
