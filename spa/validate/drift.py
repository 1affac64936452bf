"""How far two sets of outputs lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
    is the same, for outputs `[rows, classes]`.  `size` is the root mean square of a.
    """

    relative: Mapping[str, float]
    cosine: Mapping[str, float]
    size: Mapping[str, float]
    max_abs: float | None
    top1: float | None


def drift(before: Mapping[str, Any], after: Mapping[str, Any]) -> Drift:
    """Compare the float outputs of two runs on the same inputs."""
    return total([(before, after)])


def total(runs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Drift:
    """Compare the float outputs of pairs of runs, as if each pair were a part of one large run."""
    sums: dict[str, _Sums] = {}
    for before, after in runs:
        for name in before:
            old, new = _floats(before[name]), _floats(after.get(name))
            if old is not None and new is not None and old.shape == new.shape:
                sums.setdefault(name, _Sums()).add(old, new)
    agree = [s.same / s.rows for s in sums.values() if s.rows]
    return Drift(
        {name: s.relative for name, s in sums.items() if s.told},
        {name: s.cosine for name, s in sums.items() if s.told},
        {name: math.sqrt(s.old / max(s.counted, 1)) for name, s in sums.items() if s.told},
        max((s.largest for s in sums.values() if s.told), default=None),
        float(np.mean(agree)) if agree else None,
    )


@dataclass
class _Sums:
    """What has been seen of one output: energies, product, largest gap, and rows in agreement."""

    old: float = 0.0
    new: float = 0.0
    both: float = 0.0
    gap: float = 0.0
    largest: float = 0.0
    rows: int = 0
    same: int = 0
    entries: int = 0
    counted: int = 0

    def add(self, old: NDArray[np.float64], new: NDArray[np.float64]) -> None:
        if old.ndim == 2 and len(old) and CLASSES[0] <= old.shape[1] <= CLASSES[1]:
            self.rows += len(old)
            self.same += int((old.argmax(-1) == new.argmax(-1)).sum())
        finite = _both_finite(old, new)
        self.entries += old.size
        if finite is None:
            self.gap = self.largest = math.inf
            return
        self.counted += int(finite.sum())
        a, b = old[finite], new[finite]
        gap = np.abs(a - b)
        self.old += float(a @ a)
        self.new += float(b @ b)
        self.both += float(a @ b)
        self.gap += float(gap @ gap)
        self.largest = max(self.largest, float(gap.max(initial=0.0)))

    @property
    def told(self) -> bool:
        """Whether anything was finite, so that the rest means something."""
        return math.isinf(self.gap) or self.counted > 0 or not self.entries

    @property
    def relative(self) -> float:
        if math.isinf(self.gap):
            return math.inf
        return math.sqrt(self.gap / self.old) if self.old else float(self.new > 0)

    @property
    def cosine(self) -> float:
        if math.isinf(self.gap):
            return 0.0
        if not self.old or not self.new:
            return float(self.old == self.new)
        return float(self.both / math.sqrt(self.old) / math.sqrt(self.new))


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
