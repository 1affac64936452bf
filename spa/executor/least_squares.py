"""Affine ridge regression towards given weights, from streamed moments.

minimise |Y - W X - b|² + λ |W - W0|²,  λ = ridge · mean(diag(Xc Xcᵀ)) with Xc centred:
W = W0 + (Yc - W0 Xc) Xcᵀ (Xc Xcᵀ + λ I)⁻¹,  b = mean(Y) - W mean(X).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-12  # ridge that is always there
RANK = 1e-7  # eigenvalues below, as a share of the largest, are rounding of float32 products
Matrix = NDArray[np.float64]


class Moments:
    """Sums of X Xᵀ, Y Xᵀ, X and Y over chunks, in float64; chunks are multiplied in float32."""

    def __init__(self, features: int, rows: int) -> None:
        self.xx = np.zeros((features, features))
        self.yx = np.zeros((rows, features))
        self.x = np.zeros(features)
        self.y = np.zeros(rows)
        self.yy = np.zeros(rows)
        self.count = 0

    def add(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Add a chunk: x `[features, m]`, y `[rows, m]`."""
        self.xx += x @ x.T
        self.yx += y @ x.T
        self.x += x.sum(1, dtype=np.float64)
        self.y += y.sum(1, dtype=np.float64)
        self.yy += np.einsum("om,om->o", y, y, dtype=np.float64)
        self.count += x.shape[1]

    @property
    def finite(self) -> bool:
        """Whether every sum is a number; an activation that overflowed spoils them."""
        sums = (self.xx, self.yx, self.x, self.y, self.yy)
        return all(bool(np.isfinite(s).all()) for s in sums)

    def centred(self, affine: bool) -> tuple[Matrix, Matrix]:
        """(Xc Xcᵀ, Yc Xcᵀ); without `affine` nothing is subtracted."""
        if not affine:
            return self.xx, self.yx
        mean = self.x / self.count
        return self.xx - np.outer(mean, self.x), self.yx - np.outer(self.y, mean)


def ridge(
    moments: Moments, start: Matrix, strength: float, affine: bool = True
) -> tuple[Matrix, Matrix]:
    """Weights `[rows, features]` and bias `[rows]`; the bias is 0 without `affine`.

    Where the problem has no solution in numbers the weights stay as they were.
    """
    if not moments.finite:
        return start.copy(), np.zeros(len(start))
    gram, cross = moments.centred(affine)
    scale = float(np.mean(np.diag(gram)))
    weights = start
    if scale > 0:
        lam = max(strength, LEAST) * scale
        weights = start + _solve(gram + lam * np.eye(len(gram)), (cross - start @ gram).T).T
    if not np.isfinite(weights).all():
        weights = start
    weights = weights.copy()
    bias = (moments.y - weights @ moments.x) / moments.count if affine else np.zeros(len(start))
    return weights, bias


def _solve(gram: Matrix, right: Matrix) -> Matrix:
    """Gram⁻¹ right; without what rounding made indefinite, if anything."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        return np.asarray(cho_solve(cho_factor(gram), right), np.float64)
    except LinAlgError:
        return np.linalg.pinv(gram, rcond=RANK, hermitian=True) @ right


def error(moments: Moments, weights: Matrix, bias: Matrix) -> Matrix:
    """Squared error per row, `[rows]`, of predicting Y by W X + b."""
    inner = np.einsum("of,fg,og->o", weights, moments.xx, weights, optimize=True)
    cross = np.einsum("of,of->o", weights, moments.yx)
    linear = 2 * bias * (weights @ moments.x - moments.y)
    found: Matrix = moments.yy - 2 * cross + inner + linear + moments.count * bias**2
    return found
