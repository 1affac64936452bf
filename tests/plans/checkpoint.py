"""What a framework does with a plan: cut a checkpoint, knowing nothing but the file."""

from __future__ import annotations

import numpy as np


def cut(array, entry):
    """The kept part of one tensor, axis by axis; blocks last."""
    blocks = entry.get("blocks", {})
    for axis in sorted(entry["keep"], key=lambda axis: (axis in blocks, int(axis))):
        keep = entry["keep"][axis]
        if axis in blocks:
            array = _cut_blocks(array, int(axis), list(keep), list(blocks[axis].items()))
        else:
            array = np.take(array, keep, int(axis))
    return array


def _cut_blocks(array, axis, lists, outer):
    """One list of positions per block of the outer axes, in order."""
    if not outer:
        return np.take(array, lists[0], axis)
    (along, count), *rest = outer
    each = len(lists) // count
    parts = np.split(array, count, int(along))
    done = [
        _cut_blocks(part, axis, lists[k * each : (k + 1) * each], rest)
        for k, part in enumerate(parts)
    ]
    return np.concatenate(done, int(along))
