"""How far two sets of outputs lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = (3, 100_000)
"""Lengths of a last axis that may hold scores of classes."""


@dataclass(frozen=True)
class Drift:
    """Per output: relative L2 difference |a - b| / |a| and cosine; over all: the largest gap.

    Entries that are not finite count nothing where both runs agree on them; where they do not, the
    differences are infinite and the cosine is 0.  `top1` is the share of rows whose largest entry
    is the same, for outputs `[rows, classes]`.
    """

    relative: Mapping[str, float]
    cosine: Mapping[str, float]
    max_abs: float | None
    top1: float | None


def drift(before: Mapping[str, Any], after: Mapping[str, Any]) -> Drift:
    """Compare the float outputs of two runs on the same inputs."""
    relative: dict[str, float] = {}
    cosine: dict[str, float] = {}
    largest: list[float] = []
    agree: list[float] = []
    for name in before:
        old, new = _floats(before[name]), _floats(after.get(name))
        if old is None or new is None or old.shape != new.shape:
            continue
        finite = _both_finite(old, new)
        if finite is None:
            relative[name], cosine[name] = math.inf, 0.0
            largest.append(math.inf)
        else:
            a, b = old[finite], new[finite]
            norm, other = np.linalg.norm(a), np.linalg.norm(b)
            gap = np.abs(a - b)
            relative[name] = float(np.linalg.norm(gap) / norm) if norm else float(other > 0)
            alike = a @ b / (norm * other) if norm and other else norm == other
            cosine[name] = float(alike)
            largest.append(float(gap.max(initial=0.0)))
        rows = old.shape
        if len(rows) == 2 and rows[0] and CLASSES[0] <= rows[1] <= CLASSES[1]:
            agree.append(float((old.argmax(-1) == new.argmax(-1)).mean()))
    top1 = float(np.mean(agree)) if agree else None
    return Drift(relative, cosine, max(largest, default=None), top1)


def relative_error(want: Mapping[Any, Any], got: Mapping[Any, Any]) -> float:
    """The largest difference of any output, over the largest entry of that output.

    Infinite where shapes differ, or one has an entry that is not finite and the other has not.
    """
    worst = 0.0
    other: Any
    for name, value in want.items():
        other = got.get(name)
        if isinstance(value, (list, tuple, dict)):  # sequences and maps: entry by entry
            if type(value) is not type(other) or len(value) != len(other):
                return math.inf
            inner = value if isinstance(value, dict) else dict(enumerate(value))
            outer = other if isinstance(other, dict) else dict(enumerate(other))
            worst = max(worst, relative_error(inner, outer))
            continue
        a, b = _floats(value), _floats(other)
        if a is None:
            worst = max(worst, 0.0 if np.array_equal(value, other) else 1.0)
            continue
        finite = None if b is None or a.shape != b.shape else _both_finite(a, b)
        if b is None or finite is None:
            return math.inf
        scale = np.abs(a[finite]).max(initial=0.0)
        gap = np.abs(a[finite] - b[finite]).max(initial=0.0)
        worst = max(worst, float(gap / (scale + 1e-12)))
    return worst


def _both_finite(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Where both are finite; None unless they agree everywhere else."""
    finite = np.isfinite(a) & np.isfinite(b)
    return finite if np.array_equal(a[~finite], b[~finite], equal_nan=True) else None


def _floats(value: Any) -> NDArray[np.float64] | None:
    """The value as float64 if it is a float or a float tensor, else None."""
    from spa.trace.collect import is_float

    if isinstance(value, float):
        return np.array(value)
    if not isinstance(value, np.ndarray) or not is_float(value.dtype):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(np.float64)
