"""The one operation that makes a tensor smaller: keep what stays of its view."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.trace import Kept, Param, merged


def shrink(param: Param, array: NDArray[Any], left: Kept) -> NDArray[Any]:
    """What the cut leaves of a stored tensor, of any dtype, in the tensor's own rank.

    Raises:
        MisplacedError: the kept elements are no box.
    """
    maps = [p for _, p in param.maps if left.touched(p)]
    lines = [left.along(p) for p in maps]
    if len(lines) == 1 and lines[0] and array.size == param.view[lines[0][0]] == array.shape[-1]:
        return array.take(lines[0][1], array.ndim - 1)  # a number per channel: the usual case
    result = array.reshape(param.view)
    if all(lines):
        along: dict[int, NDArray[np.intp]] = {}
        for axis, places in filter(None, lines):
            along[axis] = np.intersect1d(along[axis], places) if axis in along else places
        if len(along) < len(lines):
            left.view(param)  # those over one axis must leave a box
        if not result.flags.aligned:  # bytes need not be
            result = result.view(f"V{result.dtype.itemsize}")
        for axis in sorted(along):
            result = result.take(along[axis], axis)  # outer axes first: larger pieces
        view = result.shape
        result = result.view(array.dtype)
    else:
        view, _ = left.view(param)
        kept = np.ones((1,) * len(param.view), bool)
        for p in maps:
            kept = kept & left.flags[p.ids]
        lead = max(a for p in maps for a in p.axes) + 1
        mask = np.broadcast_to(kept.reshape(kept.shape[:lead]), param.view[:lead])
        result = result[mask].reshape(view)
    return np.ascontiguousarray(result.reshape(merged(tuple(array.shape), param.view, view)))


def signature(param: Param, left: Kept) -> bytes:
    """Two uses of one tensor with equal signatures keep the same elements."""
    touched = [p for _, p in param.maps if left.touched(p)]
    if not touched:
        return b""
    kept = np.ones((1,) * len(param.view), bool)
    for p in touched:
        kept = kept & left.flags[p.ids]
    lead = max((a + 1 for a, n in enumerate(kept.shape) if n > 1), default=0)
    # over the tensor's own order of elements, so that different views compare
    mask = np.broadcast_to(kept.reshape(kept.shape[:lead]), param.view[:lead])
    return str(np.prod(param.view[lead:])).encode() + np.packbits(mask).tobytes()
