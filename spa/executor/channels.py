"""Channels of activations, which lie along axis 1: what they are like, and how they are moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def along(values: Array, rank: int) -> Array:
    """Numbers `[channels]` as they lie in a tensor of that rank."""
    return values.reshape(1, -1, *(1,) * (rank - 2))


def moments(batches: Sequence[Array]) -> tuple[Array, Array, int]:
    """Mean and variance of every channel, float64 `[channels]`, and of how many numbers each."""
    rank = batches[0].ndim
    rest = (0, *range(2, rank))
    count = sum(x.size // max(x.shape[1], 1) for x in batches)
    mean = sum(x.sum(rest, dtype=np.float64) for x in batches) / max(count, 1)
    gaps = (x - along(mean, rank).astype(x.dtype) for x in batches)
    # a second pass: sums of squares lose everything where the mean is large
    square = sum(np.square(gap).sum(rest, dtype=np.float64) for gap in gaps)
    return np.asarray(mean), np.asarray(square / max(count, 1)), count


def moved(x: Array, affine: Array) -> Array:
    """An activation times a factor, plus a summand, `[2, channels]`."""
    factor, summand = (along(side, x.ndim).astype(x.dtype) for side in affine)
    return np.asarray(x * factor + summand)


def unmoved(x: Array, affine: Array) -> Array:
    """What an activation was before it was moved."""
    factor, summand = (along(side, x.ndim).astype(x.dtype) for side in affine)
    return np.asarray((x - summand) / factor)
