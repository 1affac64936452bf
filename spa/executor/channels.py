"""Channels of activations, which lie along axis 1: what they are like, and how they are moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.executor.least_squares import squares_of, sums_of

Array = NDArray[Any]


def along(values: Array, rank: int) -> Array:
    """Numbers `[channels]` as they lie in a tensor of that rank."""
    return values.reshape(1, -1, *(1,) * (rank - 2))


def moments(batches: Sequence[Array]) -> tuple[Array, Array, int]:
    """Mean and variance of every channel, float64 `[channels]`, and of how many numbers each."""
    count = sum(x.size // max(x.shape[1], 1) for x in batches)
    flat = [_rows(x) for x in batches]
    mean = sum(sums_of(x).sum(0) for x in flat) / max(count, 1)
    # a second pass: sums of squares lose everything where the mean is large
    square = sum(squares_of(x - mean.astype(x.dtype)[:, None]).sum(0) for x in flat)
    return np.asarray(mean), np.asarray(square / max(count, 1)), count


def _rows(x: Array) -> Array:
    """`[N, channels, numbers]`, in single precision at least."""
    wide = x if x.dtype.kind == "f" and x.dtype.itemsize > 2 else x.astype(np.float32)
    return wide.reshape(*x.shape[:2], -1) if x.ndim > 2 else wide.T[None]


def moved(x: Array, affine: Array) -> Array:
    """An activation times a factor, plus a summand, `[2, channels]`."""
    factor, summand = (along(side, x.ndim).astype(x.dtype) for side in affine)
    return np.asarray(x * factor + summand)


def unmoved(x: Array, affine: Array) -> Array:
    """What an activation was before it was moved."""
    factor, summand = (along(side, x.ndim).astype(x.dtype) for side in affine)
    return np.asarray((x - summand) / factor)
