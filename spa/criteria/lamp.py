"""LAMP: magnitudes that can be compared between layers (Lee et al., ICLR 2021)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.criteria.aggregate import Weigh
from spa.criteria.context import Context, criterion


@criterion(comparable=True)
def lamp(context: Context) -> Weigh:
    """Squared weight as a share of those of its layer that are no smaller.

    Layer-adaptive magnitude (Lee et al., ICLR 2021, arXiv 2010.07611): what a layer would lose
    relative to what it still has.  So layers compare as they are, and `normalize` has no say.
    Biases and norms count nothing, as in the paper.
    """
    return weigh


def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """w² / Σ w'² over all w'² >= w² of a layer; nothing of tensors that are vectors."""
    if sum(size > 1 for size in array.shape) < 2:
        return None
    squares = np.square(array, dtype=np.float64).ravel()
    ranked = np.sort(squares)
    larger = np.cumsum(ranked[::-1])[::-1]  # from the smallest on
    rest = larger[np.searchsorted(ranked, squares)]
    shares = np.divide(squares, rest, out=np.zeros_like(squares), where=rest > 0)
    return np.asarray(shares.reshape(array.shape), np.float32)
