"""What is left of an activation, given what is left of the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.labels import Image, extent
from spa.trace.check import Kept


def select(array: NDArray[Any], image: Image, left: Kept) -> NDArray[Any]:
    """The array without the elements that die.

    Args:
        array: an activation; sizes of axes without labels may differ from the analysis.
        image: its image in the original.
        left: what survives.

    Raises:
        ValueError: what is kept is no box.
    """
    for index_map in image.maps:
        if not left.touched(index_map):
            continue
        kept = left.kept(
            index_map, image.maps
        )  # with those that cross it, which are applied at once
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
