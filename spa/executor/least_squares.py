"""Affine ridge regression towards given weights, from streamed moments, for groups at once.

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
    """Sums of X Xᵀ, Y Xᵀ, X and Y over chunks, in float64; chunks are multiplied in float32.

    X is `[groups, features, m]`, Y is `[groups, rows, m]`; with `rows` 0 only X counts.
    """

    def __init__(self, groups: int, features: int, rows: int = 0) -> None:
        self.xx = np.zeros((groups, features, features))
        self.yx = np.zeros((groups, rows, features))
        self.x = np.zeros((groups, features))
        self.y = np.zeros((groups, rows))
        self.yy = np.zeros((groups, rows))
        self.count = 0

    def add(self, x: NDArray[np.float32], y: NDArray[np.float32] | None = None) -> None:
        """Add a chunk."""
        flipped = x.swapaxes(1, 2)
        self.xx += x @ flipped
        self.x += x.sum(2, dtype=np.float64)
        self.count += x.shape[2]
        if y is not None:
            self.yx += y @ flipped
            self.y += y.sum(2, dtype=np.float64)
            self.yy += np.square(y).sum(2, dtype=np.float64)

    def join(self, other: Moments) -> None:
        """Add what another sum holds."""
        for name in ("xx", "yx", "x", "y", "yy"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.count += other.count

    @property
    def finite(self) -> bool:
        """Whether every sum is a number; an activation that overflowed spoils them."""
        sums = (self.xx, self.yx, self.x, self.y, self.yy)
        return all(bool(np.isfinite(s).all()) for s in sums)

    def centred(self, affine: bool = True) -> tuple[Matrix, Matrix]:
        """(Xc Xcᵀ, Yc Xcᵀ); without `affine` nothing is subtracted."""
        if not affine:
            return self.xx, self.yx
        mean = self.x / max(self.count, 1)
        return (
            self.xx - mean[:, :, None] * self.x[:, None, :],
            self.yx - self.y[:, :, None] * mean[:, None, :],
        )

    @property
    def spread(self) -> Matrix:
        """Summed squared distances of Y from its mean, `[groups, rows]`."""
        found: Matrix = np.maximum(self.yy - self.y**2 / max(self.count, 1), 0.0)
        return found


def ridge(
    moments: Moments, start: Matrix, strength: float, affine: bool = True
) -> tuple[Matrix, Matrix]:
    """Weights `[groups, rows, features]` and biases `[groups, rows]` (0 without `affine`).

    Where the problem has no solution in numbers the weights stay as they were.
    """
    if not moments.finite or not moments.count:
        return start.copy(), np.zeros(start.shape[:2])
    gram, cross = moments.centred(affine)
    features = gram.shape[-1]
    scale = np.trace(gram, axis1=1, axis2=2) / features
    lam = max(strength, LEAST) * np.where(scale > 0, scale, 1.0)
    right = (cross - start @ gram).swapaxes(1, 2)
    step = _solve(gram + lam[:, None, None] * np.eye(features), right).swapaxes(1, 2)
    usable = np.isfinite(step).all((1, 2)) & (scale > 0)
    weights = start + np.where(usable[:, None, None], step, 0.0)
    if not affine:
        return weights, np.zeros(start.shape[:2])
    return weights, (moments.y - np.einsum("grf,gf->gr", weights, moments.x)) / moments.count


def _solve(gram: Matrix, right: Matrix) -> Matrix:
    """Gram⁻¹ right per group; without what rounding made indefinite, if anything."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        if len(gram) > 1:
            return np.linalg.solve(gram, right)
        return np.asarray(cho_solve(cho_factor(gram[0]), right[0]), np.float64)[None]
    except (LinAlgError, ValueError):
        return np.linalg.pinv(gram, rcond=RANK, hermitian=True) @ right


def error(moments: Moments, weights: Matrix, bias: Matrix) -> Matrix:
    """Squared error per row, `[groups, rows]`, of predicting Y by W X + b."""
    inner = ((weights @ moments.xx) * weights).sum(2)
    cross = (weights * moments.yx).sum(2)
    linear = 2 * bias * (np.einsum("grf,gf->gr", weights, moments.x) - moments.y)
    found: Matrix = moments.yy - 2 * cross + inner + linear + moments.count * bias**2
    return found
