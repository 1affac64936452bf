"""How far two sets of outputs lie apart."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.validate.classes import Classes, Kept
from spa.validate.gap import both_finite, floats
from spa.validate.labels import Labels, labels_of
from spa.validate.spread import Spread

Floats = NDArray[np.float64]

STILL = "it does not vary over the rows"
NOT_FINITE = "it has no finite numbers"
NO_MATCH = "the two models give no tensors of one shape"


@dataclass(frozen=True)
class Drift:
    """How far the outputs of two models lie apart, per output, the worst of which counts.

    Attributes:
        relative: of floats, the root mean square of the difference over that of what varies from
            row to row (see `spa.validate.spread`); None where nothing can be said.
        plain: of floats, |a - b| / |a|, whatever is constant in a included.
        cosine: of floats.
        size: the root mean square of a.
        agreement: of integers, booleans and strings, the share of equal entries; of rows whose
            entries all differ, as those of a top-k are, the share of common members.  None where
            nothing can be said.
        unverified: outputs of which nothing can be said, with the reason.
        max_abs: the largest difference of a float.
        corrected: the agreement of labels beyond chance; None where too few rows tell.
        classes: of outputs `[rows, classes]`, and of those whose last axis sums to 1, how often the
            largest entry is the same, and what that may cost; none where one class wins everywhere.

    Entries that are not finite count nothing where both runs agree on them; where they do not, the
    differences are infinite and the cosine is 0.
    """

    relative: Mapping[str, float | None]
    plain: Mapping[str, float]
    cosine: Mapping[str, float]
    size: Mapping[str, float]
    agreement: Mapping[str, float | None]
    unverified: Mapping[str, str]
    max_abs: float | None
    corrected: Mapping[str, float | None]
    classes: Mapping[str, Kept]

    @property
    def error(self) -> float:
        """One number to choose by: the mean over outputs of the squared `relative`.

        Of labels it is the share that differs; infinite where nothing can be said.
        """
        parts = [value**2 for value in self.relative.values() if value is not None]
        parts += [1.0 - share for share in self.agreement.values() if share is not None]
        return math.fsum(parts) / len(parts) if parts else math.inf

    @property
    def top1(self) -> float | None:
        """The least share of rows that keep their class, None where no output has any."""
        return min((kept.share for kept in self.classes.values()), default=None)


def drift(before: Mapping[str, Any], after: Mapping[str, Any]) -> Drift:
    """Compare the outputs of two runs on the same inputs."""
    return total([(before, after)])


def total(
    runs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    numbers: Container[str] = (),
) -> Drift:
    """Compare the outputs of pairs of runs, as if each pair were a part of one large run.

    The first of a pair is of the original; `numbers` are outputs whose integers are amounts.
    """
    sums: dict[str, _Sums] = {}
    labels: dict[str, Labels] = {}
    other: dict[str, int] = {}
    for before, after in runs:
        for name in before:
            amounts = name in numbers
            old, new = _floats(before[name], amounts), _floats(after.get(name), amounts)
            words, others = (labels_of(each.get(name)) for each in (before, after))
            if old is not None and new is not None and old.shape == new.shape:
                known = sums.setdefault(name, _Sums(_precision(before[name])))
                known.add(old, new)
            elif old is None and words is not None and others is not None:
                labels.setdefault(name, Labels()).add(words, others)
            else:
                other[name] = other.get(name, 0) + 1
    return _told(sums, labels, other)


def _told(sums: dict[str, _Sums], labels: dict[str, Labels], other: dict[str, int]) -> Drift:
    told = {name: s for name, s in sums.items() if s.told}
    relative = {name: s.drift for name, s in sums.items()}
    agreement = {name: found.share for name, found in labels.items()}
    why = {
        name: STILL if sums[name].told else NOT_FINITE for name, d in relative.items() if d is None
    }
    why |= {name: STILL for name, share in agreement.items() if share is None}
    for name, times in other.items():
        seen = sums[name].runs if name in sums else labels[name].runs if name in labels else 0
        if times > seen:
            why[name] = NO_MATCH
            relative[name] = None
            agreement.pop(name, None)
    return Drift(
        relative,
        {name: s.plain for name, s in told.items()},
        {name: s.cosine for name, s in told.items()},
        {name: math.sqrt(s.old / max(s.counted, 1)) for name, s in told.items()},
        agreement,
        why,
        max((s.largest for s in told.values()), default=None),
        {name: found.corrected for name, found in labels.items()},
        {name: kept for name, s in sums.items() if (kept := s.classes.kept) is not None},
    )


class _Sums:
    """What has been seen of one output: energies, product, largest gap, and classes."""

    def __init__(self, precision: float) -> None:
        self.old = self.new = self.both = self.gap = self.largest = 0.0
        self.counted = self.runs = 0
        self.classes = Classes()
        self.spread = Spread(precision)

    def add(self, old: Floats, new: Floats) -> None:
        self.runs += 1
        self.classes.add(old, new)
        finite = both_finite(old, new)
        if finite is None:
            self.gap = self.largest = math.inf
            return
        self.counted += int(finite.sum())
        self.spread.add(old, new, finite)
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
        return math.isinf(self.gap) or self.counted > 0

    @property
    def drift(self) -> float | None:
        return math.inf if math.isinf(self.gap) else self.spread.relative

    @property
    def plain(self) -> float:
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


def _floats(value: object, amounts: bool) -> Floats | None:
    """The value as float64 if it is a float or a float tensor, or integers that are amounts."""
    if amounts and isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value.astype(np.float64)
    return floats(value)


def _precision(value: object) -> float:
    """A unit in the last place, as a share."""
    import ml_dtypes

    kind = getattr(value, "dtype", np.dtype(np.float64))
    return 0.0 if kind.kind in "iu" else float(ml_dtypes.finfo(kind).eps)  # type: ignore[no-untyped-call]
