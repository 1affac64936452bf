"""What is left of an activation, given what is left of the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.labels import Image, extent
from spa.trace.check import Survivors


def select(array: NDArray[Any], image: Image, left: Survivors) -> NDArray[Any]:
    """The array without the elements that die.

    Args:
        array: an activation; sizes of axes without labels may differ from the analysis.
        image: its image in the original.
        left: what survives.

    Raises:
        ValueError: the survivors are no box.
    """
    for plane in image.planes:
        if not left.touched(plane):
            continue
        kept = left.kept(plane, image.planes)  # with those that cross it, which are applied at once
        box = extent(kept)
        if box is None:
            raise ValueError("the survivors are no box")
        if any(array.shape[a] != n for a, n in zip(plane.axes, kept.shape, strict=True)):
            continue  # another plane over the same axis has been applied
        if len(plane.axes) == 1:
            array = array.take(np.flatnonzero(kept), plane.axes[0])
            continue
        front = range(len(plane.axes))
        moved = np.moveaxis(array, plane.axes, front)
        array = np.moveaxis(moved[kept].reshape(*box, *moved.shape[kept.ndim :]), front, plane.axes)
    return array
