"""How often two models name the same class, beyond what chance gives, and what that may cost.

On inputs whose labels nobody knows the original's own probabilities stand for the truth: if they
are right on average, a row on which the small model names another class loses the difference of the
two probabilities.  So a flip between near equals costs little, and a sure answer that is lost all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLASSES = (3, 100_000)
"""Lengths of a last axis that may hold scores of classes."""
WHOLE = 1e-3
"""Entries that are not negative and sum to 1 so exactly are probabilities."""
SURE = 0.2
"""Less than this in the mean of the largest probabilities is no classifier's, as an embedding."""
LEAST_SURE_OF = 0.25
"""A corrected agreement whose standard error is larger says nothing."""


@dataclass(frozen=True)
class Kept:
    """How many classes stay.

    Attributes:
        share: of rows that name the same class.
        corrected: the same beyond chance (Cohen's kappa): 1 where all stay, 0 where the two models
            have nothing to do with one another; None where nearly all rows name one class, so that
            too few rows tell.
        lost: the share of right answers that is lost, if the original's probabilities are right.
        error: the standard error of `lost`; both are None where the original is sure of nothing.
    """

    share: float
    corrected: float | None
    lost: float | None = None
    error: float | None = None


class Classes:
    """The classes that one output of both models names, over all runs."""

    def __init__(self) -> None:
        self.rows = self._same = 0
        self._sure = self._lost = self._squares = 0.0
        self._counts: tuple[dict[Any, int], dict[Any, int]] = {}, {}

    def add(self, old: Floats, new: Floats) -> None:
        """Take rows of scores, float64 of one shape, if their last axis may hold classes."""
        whole = old.ndim > 1 and old.shape[-1] > 1 and bool((old >= 0).all())
        whole = whole and bool((np.abs(old.sum(-1) - 1) < WHOLE).all())
        plain = old.ndim == 2 and CLASSES[0] <= old.shape[1] <= CLASSES[1]
        if not old.size or not (whole or plain) or not np.isfinite(old).all():
            return
        old, new = old.reshape(-1, old.shape[-1]), new.reshape(-1, new.shape[-1])
        first, second, at = old.argmax(-1), new.argmax(-1), np.arange(len(old))
        shares = old if whole else _softmax(old)
        lost = shares[at, first] - shares[at, second]
        self.rows += len(old)
        self._same += int((first == second).sum())
        self._sure += float(shares[at, first].sum())
        self._lost += float(lost.sum())
        self._squares += float(lost @ lost)
        for counts, found in zip(self._counts, (first, second), strict=True):
            count(found, counts)

    @property
    def kept(self) -> Kept | None:
        """What is known; None where no row holds classes, or all rows of both name one."""
        if not self.rows or len(self._counts[0].keys() | self._counts[1].keys()) < 2:
            return None
        share = self._same / self.rows
        beyond = corrected(share, self.rows, *self._counts)
        if self._sure < SURE * self.rows:
            return Kept(share, beyond)
        lost, sure = self._lost / self.rows, self._sure / self.rows
        # As if one more row were lost: that none of a few rows is does not mean that none ever is.
        varies = self._squares - self.rows * lost * lost + sure * sure
        return Kept(share, beyond, lost, math.sqrt(max(varies, 0.0)) / self.rows)


def _softmax(scores: Floats) -> Floats:
    found = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(found / found.sum(-1, keepdims=True))


def count(labels: NDArray[Any], into: dict[Any, int]) -> None:
    """Add how often each label occurs."""
    for label, times in zip(*np.unique(labels, return_counts=True), strict=True):
        into[label.item() if hasattr(label, "item") else label] = into.get(label, 0) + int(times)


def corrected(
    share: float, rows: int, old: Mapping[Any, int], new: Mapping[Any, int]
) -> float | None:
    """An agreement beyond chance; None where chance alone gives nearly all of it."""
    chance = sum(times * new.get(label, 0) for label, times in old.items()) / rows**2
    near = (share * rows + 1) / (rows + 2)  # an agreement of all rows is not known without error
    if math.sqrt(near * (1 - near) / rows) > LEAST_SURE_OF * (1 - chance):
        return None
    return (share - chance) / (1 - chance)
