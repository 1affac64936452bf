"""How far the outputs of two models lie apart, and how many numbers that was said of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.trace import is_float


@dataclass(frozen=True)
class Gap:
    """The largest difference of any tensor over its largest entry, and what it was found on.

    Attributes:
        error: infinite where shapes differ, or where one has a number and the other has none.
        compared: how many numbers were compared.
        silent: how many entries are no finite numbers, in both.
    """

    error: float = 0.0
    compared: int = 0
    silent: int = 0

    def __add__(self, other: Gap) -> Gap:
        error = max(self.error, other.error)
        return Gap(error, self.compared + other.compared, self.silent + other.silent)


APART = Gap(math.inf)


def gap(want: Mapping[Any, object], got: Mapping[Any, object]) -> Gap:
    """How far `got` lies from `want`, over all that `want` has."""
    total = Gap()
    for name, value in want.items():
        total += _of_one(value, got.get(name))
    return total


def _of_one(want: Any, got: Any) -> Gap:
    if isinstance(want, (list, tuple, dict)):  # sequences and maps: entry by entry
        if type(want) is not type(got) or len(want) != len(got):
            return APART
        inner, outer = (v if isinstance(v, dict) else dict(enumerate(v)) for v in (want, got))
        return gap(inner, outer)
    a, b = floats(want), floats(got)
    if a is None:
        return Gap(float(not np.array_equal(want, got)), int(np.size(want)))
    if b is None or a.shape != b.shape:
        return APART
    finite = both_finite(a, b)
    if finite is None:
        return APART
    largest = np.abs(a[finite]).max(initial=0.0)
    apart = np.abs(a[finite] - b[finite]).max(initial=0.0)
    count = int(finite.sum())
    return Gap(float(apart / (largest + 1e-12)), count, a.size - count)


def both_finite(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Where both are finite; None unless they agree everywhere else."""
    finite = np.isfinite(a) & np.isfinite(b)
    return finite if np.array_equal(a[~finite], b[~finite], equal_nan=True) else None


def floats(value: object) -> NDArray[np.float64] | None:
    """The value as float64 if it is a float or a float tensor, else None."""
    if isinstance(value, float):
        return np.array(value)
    if not isinstance(value, np.ndarray) or not is_float(value.dtype):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(np.float64)
