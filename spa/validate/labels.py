"""How often two models give the same labels: classes, indices, yes or no, words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.validate.classes import corrected, count


def labels_of(value: object) -> NDArray[Any] | None:
    """The value if it is a tensor of integers, booleans or strings, or one of these."""
    if isinstance(value, (bool, int, str)):
        value = np.array([value])
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuOSU":
        return None
    return value.reshape(1) if not value.ndim else value


class Labels:
    """The labels of one output over all runs."""

    def __init__(self) -> None:
        self.runs = 0
        self._entries = self._equal = 0
        self._members = self._common = 0
        self._sets, self._rows = True, 0
        self._counts: tuple[dict[Any, int], dict[Any, int]] = {}, {}

    def add(self, old: NDArray[Any], new: NDArray[Any]) -> None:
        """Take rows; lists of other lengths have in common what both hold."""
        self.runs += 1
        if old.shape == new.shape:
            self._entries += old.size
            self._equal += int((old == new).sum())
        else:
            self._entries += max(old.size, new.size)
        for counts, labels in zip(self._counts, (old, new), strict=True):
            count(labels, counts)
        self._sets = self._sets and old.shape[-1] > 1 and old.shape[:-1] == new.shape[:-1]
        if self._sets:
            self._compare(old.reshape(-1, old.shape[-1]), new.reshape(-1, new.shape[-1]))

    def _compare(self, old: NDArray[Any], new: NDArray[Any]) -> None:
        """Rows as sets, as long as no row holds an entry twice."""
        ordered = np.sort(old, -1)
        self._sets = bool((ordered[:, 1:] != ordered[:, :-1]).all())
        if not self._sets:
            return
        self._rows += len(old)
        for one, other in zip(old, new, strict=True):
            self._members += max(len(one), len(other))
            self._common += len(np.intersect1d(one, other))

    @property
    def share(self) -> float | None:
        """The share that is the same; None if all is one label in both, so that nothing is said."""
        if self._sets and self._rows > 1:
            return self._common / self._members
        equal = self._equal == self._entries
        if not self._entries or (equal and len(self._counts[0]) < 2):
            return None
        return self._equal / self._entries

    @property
    def corrected(self) -> float | None:
        """The share beyond chance, see `spa.validate.classes`; of sets it is the share itself."""
        share = self.share
        if share is None or (self._sets and self._rows > 1):
            return share
        return corrected(share, self._entries, *self._counts)
