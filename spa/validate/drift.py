"""How far two sets of outputs lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = (3, 100_000)
"""Lengths of a last axis that may hold scores of classes."""


@dataclass(frozen=True)
class Drift:
    """Per output: relative L2 difference |a - b| / |a| and cosine; over all: the largest difference.

    `top1` is the share of rows whose largest entry is the same, for outputs `[rows, classes]`.
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
        pair = _floats(before[name]), _floats(after.get(name))
        if pair[0] is None or pair[1] is None or pair[0].shape != pair[1].shape:
            continue
        a, b = pair[0].ravel(), pair[1].ravel()
        finite = np.isfinite(a) & np.isfinite(b)
        norm, other = np.linalg.norm(a[finite]), np.linalg.norm(b[finite])
        gap = np.abs(a - b)[finite]
        relative[name] = float(np.linalg.norm(gap) / norm) if norm else float(other > 0)
        cosine[name] = float(a[finite] @ b[finite] / (norm * other)) if norm and other else float(norm == other)
        largest.append(float(gap.max(initial=0.0)))
        if pair[0].ndim == 2 and CLASSES[0] <= pair[0].shape[-1] <= CLASSES[1]:
            agree.append(float((pair[0].argmax(-1) == pair[1].argmax(-1)).mean()))
    return Drift(
        relative, cosine, max(largest) if largest else None, float(np.mean(agree)) if agree else None
    )


def relative_error(want: Mapping[str, Any], got: Mapping[str, Any]) -> float:
    """The largest difference of any output, over the largest entry of that output."""
    worst = 0.0
    for name in want:
        a, b = _floats(want[name]), _floats(got.get(name))
        if a is None:
            same = np.array_equal(np.asarray(want[name]), np.asarray(got.get(name)))
            worst = max(worst, 0.0 if same else 1.0)
            continue
        if b is None or a.shape != b.shape:
            return float("inf")
        if (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        both = np.isfinite(a) & np.isfinite(b)
        if (a[~both] != b[~both])[~np.isnan(a[~both])].any():
            return float("inf")
        scale = np.abs(a[both]).max(initial=0.0)
        worst = max(worst, float(np.abs(a - b)[both].max(initial=0.0) / (scale + 1e-12)))
    return worst


def _floats(value: Any) -> NDArray[np.float64] | None:
    """The value as float64 if it is a float tensor, else None."""
    from spa.trace.collect import is_float

    if not isinstance(value, np.ndarray) or not is_float(value.dtype):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(np.float64)
