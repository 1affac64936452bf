"""The one operation that makes a tensor smaller: keep the living elements of its view."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.trace import Kept, Param, merged


def shrink(param: Param, array: NDArray[Any], left: Kept) -> NDArray[Any]:
    """What the cut leaves of a stored tensor, of any dtype, in the tensor's own rank.

    Raises:
        MisplacedError: the living elements are no box.
    """
    maps = [p for _, p in param.maps if left.touched(p)]
    lines = [left.along(p) for p in maps]
    if len(lines) == 1 and lines[0] and array.size == param.view[lines[0][0]] == array.shape[-1]:
        return array.take(lines[0][1], array.ndim - 1)  # a number per channel: the usual case
    result = array.reshape(param.view)
    if all(lines):
        kept: dict[int, NDArray[np.intp]] = {}
        for axis, places in filter(None, lines):
            kept[axis] = np.intersect1d(kept[axis], places) if axis in kept else places
        if len(kept) < len(lines):
            left.view(param)  # those over one axis must leave a box
        if not result.flags.aligned:  # bytes need not be
            result = result.view(f"V{result.dtype.itemsize}")
        for axis in sorted(kept):
            result = result.take(kept[axis], axis)  # outer axes first: larger pieces
        view = result.shape
        result = result.view(array.dtype)
    else:
        view, _ = left.view(param)
        alive = np.ones((1,) * len(param.view), bool)
        for p in maps:
            alive = alive & left.alive[p.ids]
        lead = max(a for p in maps for a in p.axes) + 1
        mask = np.broadcast_to(alive.reshape(alive.shape[:lead]), param.view[:lead])
        result = result[mask].reshape(view)
    return np.ascontiguousarray(result.reshape(merged(tuple(array.shape), param.view, view)))


def signature(param: Param, left: Kept) -> bytes:
    """Two uses of one tensor with equal signatures keep the same elements."""
    touched = [p for _, p in param.maps if left.touched(p)]
    if not touched:
        return b""
    alive = np.ones((1,) * len(param.view), bool)
    for p in touched:
        alive = alive & left.alive[p.ids]
    lead = max((a + 1 for a, n in enumerate(alive.shape) if n > 1), default=0)
    # over the tensor's own order of elements, so that different views compare
    mask = np.broadcast_to(alive.reshape(alive.shape[:lead]), param.view[:lead])
    return str(np.prod(param.view[lead:])).encode() + np.packbits(mask).tobytes()
