"""Affine ridge regression towards given weights, from streamed moments, for groups at once.

minimise |Y - W X - b|² + λ |(W - W0) D^½|²,  D = diag(Xc Xcᵀ) with Xc centred:
W = W0 + (Yc - W0 Xc) Xcᵀ (Xc Xcᵀ + λ D)⁻¹,  b = mean(Y) - W mean(X).

Scaling the ridge by D makes the solution indifferent to how channels are scaled.  λ is never below
the number of features over that of independent columns: few samples explain everything, and mean
little.  The pixels of one image are a cluster; m columns in clusters of p are worth
m / (1 + (p - 1) r) independent ones, r the intra-cluster correlation (Kish's design effect).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.devices import Device
from spa.executor.products import products

LEAST = 1e-12  # ridge that is always there
PLAIN = 1e-6  # a strength below asks for plain least squares, whatever the columns are worth
FLOOR = 1e-3  # of the mean variance: features that vary less are treated as if they varied so much
RANK = 1e-7  # eigenvalues below, as a share of the largest, are rounding of float32 products
GATHERED = 1024  # columns that make a product: adding it up costs more than a product of few
Matrix = NDArray[np.float64]
Array = NDArray[np.float32]


def sums_of(x: Array) -> Matrix:
    """Sums over the last axis, in the numbers' own precision: `[..., m]` to `[...]`, float64."""
    return np.asarray(x @ np.ones(x.shape[-1], x.dtype), np.float64)


def squares_of(x: Array) -> Matrix:
    """The same of the squares."""
    return np.asarray(np.einsum("...m,...m->...", x, x), np.float64)


class Moments:
    """Sums of X Xᵀ, Y Xᵀ, X and Y over chunks, in float64; chunks are multiplied in float32.

    X is `[groups, features, m]`, Y is `[groups, rows, m]`; with `rows` 0 only X counts.  The
    columns of one sample lie side by side.  Products are computed on `device`, of `GATHERED`
    columns or more at once, so that runs of one sample cost no product each; a chunk must not be
    changed once it is added.
    """

    def __init__(self, groups: int, features: int, rows: int = 0, device: Device = "cpu") -> None:
        self._products = products(device)
        self._xx = np.zeros((groups, features, features))
        self._yx = np.zeros((groups, rows, features))
        self._waiting: list[tuple[Array, ...]] = []
        self._columns = 0
        self.x = np.zeros((groups, features))
        self.y = np.zeros((groups, rows))
        self.between = np.zeros((groups, features))
        self.count = 0
        self.samples = 0

    def add(self, x: Array, y: Array | None = None, samples: int = 0) -> None:
        """Add a chunk of so many samples; 0: every column is one."""
        samples = samples or x.shape[2]
        size = x.shape[2] // max(samples, 1)
        sums = sums_of(x.reshape(*x.shape[:2], samples, -1)) if size > 1 else x.astype(np.float64)
        self.between += np.square(sums / max(size, 1)).sum(2)
        self.samples += samples
        self.x += sums.sum(2)
        self.count += x.shape[2]
        if y is not None:
            self.y += sums_of(y)
        self._waiting.append((x,) if y is None else (x, y))
        self._columns += x.shape[2]
        if self._columns >= GATHERED:
            self._multiply()

    @property
    def xx(self) -> Matrix:
        """Sum of X Xᵀ, `[groups, features, features]`."""
        self._multiply()
        return self._xx

    @property
    def yx(self) -> Matrix:
        """Sum of Y Xᵀ, `[groups, rows, features]`."""
        self._multiply()
        return self._yx

    def _multiply(self) -> None:
        """Add up the products of what is waiting."""
        if not self._waiting:
            return
        parts = [
            side[0] if len(side) == 1 else np.concatenate(side, 2)
            for side in zip(*self._waiting, strict=True)
        ]
        made = self._products(*parts)
        self._xx += made[0]
        if len(made) > 1:
            self._yx += made[1]
        self._waiting, self._columns = [], 0

    @property
    def worth(self) -> float:
        """How many independent columns these are worth."""
        size = self.count / max(self.samples, 1)
        if size <= 1:
            return float(self.count)
        mean = self.x / self.count
        total = np.diagonal(self.xx, axis1=1, axis2=2) / self.count - mean**2
        between = self.between / self.samples - mean**2
        varies = total > LEAST * np.maximum(mean**2, LEAST)
        if not varies.any():
            return float(self.count)
        share = float((between[varies] / total[varies]).mean())
        alike = min(max((share - 1 / size) / (1 - 1 / size), 0.0), 1.0)
        return self.count / (1 + (size - 1) * alike)

    @property
    def finite(self) -> bool:
        """Whether every sum is a number; an activation that overflowed spoils them."""
        sums = (self.xx, self.yx, self.x, self.y)
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


def ridge(
    moments: Moments, start: Matrix, strength: float, affine: bool = True
) -> tuple[Matrix, Matrix]:
    """Weights `[groups, rows, features]` and biases `[groups, rows]` (0 without `affine`).

    Where the problem has no solution in numbers the weights stay as they were.
    """
    if not moments.finite or not moments.count:
        return start.copy(), np.zeros(start.shape[:2])
    gram, cross = moments.centred(affine)
    right = (cross - start @ gram).swapaxes(1, 2)
    step = _solve(stiffened(gram, moments.worth, strength), right).swapaxes(1, 2)
    usable = np.isfinite(step).all((1, 2)) & (np.trace(gram, axis1=1, axis2=2) > 0)
    weights = start + np.where(usable[:, None, None], step, 0.0)
    if not affine:
        return weights, np.zeros(start.shape[:2])
    lost = np.einsum("grf,gf->gr", weights, moments.x)
    return weights, np.asarray((moments.y - lost) / moments.count, np.float64)


def stiffened(gram: Matrix, worth: float, strength: float) -> Matrix:
    """Gram matrices `[groups, features, features]` with their ridge added.

    `worth` is how many independent columns they were made from.
    """
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    mean = diagonal.mean(1, keepdims=True)
    more = _ridge(gram, worth, strength) * np.maximum(diagonal, FLOOR * mean) + (mean <= 0)
    found: Matrix = gram + more[:, :, None] * np.eye(gram.shape[-1])
    return found


def shrunken(gram: Matrix, worth: float, strength: float) -> Matrix:
    """The same, scaled so that the diagonal stays: correlations shrink, variances do not."""
    shrink = 1.0 / (1.0 + _ridge(gram, worth, strength))
    return np.asarray(stiffened(gram, worth, strength) * shrink, np.float64)


def _ridge(gram: Matrix, worth: float, strength: float) -> float:
    needed = gram.shape[-1] / max(worth, 1.0) if strength >= PLAIN else LEAST
    return max(strength, needed)


def _solve(gram: Matrix, right: Matrix) -> Matrix:
    """Gram⁻¹ right per group; without what rounding made indefinite, if anything."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        if len(gram) > 1:
            return np.asarray(np.linalg.solve(gram, right), np.float64)
        return np.asarray(cho_solve(cho_factor(gram[0]), right[0]), np.float64)[None]
    except (LinAlgError, ValueError):
        return np.asarray(np.linalg.pinv(gram, rcond=RANK, hermitian=True) @ right, np.float64)
