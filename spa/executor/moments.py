"""Mean and variance of channels over the batches of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def moments(batches: Sequence[Array]) -> tuple[Array, Array, int]:
    """Mean and variance along axis 1, float64 `[channels]`, and how many numbers each."""
    rest = (0, *range(2, batches[0].ndim))
    shape = (-1, *(1,) * (len(rest) - 1))
    count = sum(x.size // max(x.shape[1], 1) for x in batches)
    mean = sum(x.sum(rest, dtype=np.float64) for x in batches) / max(count, 1)
    gaps = (x - mean.reshape(shape).astype(x.dtype) for x in batches)
    # a second pass: sums of squares lose everything where the mean is large
    square = sum(np.square(gap).sum(rest, dtype=np.float64) for gap in gaps)
    return np.asarray(mean), np.asarray(square / max(count, 1)), count
