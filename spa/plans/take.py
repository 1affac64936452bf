"""What a plan keeps of an array, knowing nothing but the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.plans.model import Entry, rows_of


def take(array: NDArray[Any], entry: Entry) -> NDArray[Any]:
    """The kept part of a tensor, axis by axis; blocks last.

    Args:
        array: of the shape `entry["shape"]`, any dtype.
        entry: what a plan says of the tensor.

    Returns:
        An array of the shape `entry["new_shape"]`.
    """
    blocks = entry.get("blocks", {})
    for axis in sorted(entry["keep"], key=lambda axis: (axis in blocks, int(axis))):
        outer = list(blocks.get(axis, {}).items())
        array = _taken(array, int(axis), rows_of(entry, axis), outer)
    return array


def _taken(
    array: NDArray[Any], axis: int, lists: Sequence[list[int]], outer: Sequence[tuple[str, int]]
) -> NDArray[Any]:
    """One list of positions per block of the outer axes, in order."""
    if not outer:
        return np.take(array, lists[0], axis)
    (along, count), *rest = outer
    each = len(lists) // count
    parts = np.split(array, count, int(along))
    done = [
        _taken(part, axis, lists[k * each : (k + 1) * each], rest) for k, part in enumerate(parts)
    ]
    return np.concatenate(done, int(along))
