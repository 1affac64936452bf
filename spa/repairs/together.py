"""Least squares for weights that several sites share: one solution for all that read them.

A later use is not there yet when the pruned stream reaches the first, so these are fitted before
it sets out: on what is left of the inputs that their sites have in the dense model, towards what
the sites make there, summed over the uses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.executor.least_squares import Moments, ridge, squares_of
from spa.executor.sites import Site
from spa.repairs.chunk import Rows, chunks, no_worse
from spa.repairs.targets import Targets
from spa.repairs.weights import Weights

Matrix = NDArray[np.float64]


def together(sites: Sequence[Site], weights: Weights, largest: int) -> list[Together]:
    """Every weight that several of these sites share, and nothing else does.

    `largest` is how many features a solve may have.
    """
    found: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        found[weights.name(site)].append(site)
    return [
        Together(own, weights)
        for own in found.values()
        if len(own) > 1
        and all(weights.own(site, len(own)) for site in own)
        and weights.of(own[0])[0].shape[2] <= largest
    ]


class Together:
    """The sums of the sites of one weight, over the batches that fit and those that judge."""

    def __init__(self, sites: Sequence[Site], weights: Weights) -> None:
        self.sites, self.weights = sites, weights
        self.weight = weights.of(sites[0])[0]
        self.affine = weights.one_bias(sites)
        groups, rows, features = self.weight.shape
        device = weights.pruned.device
        self.fit, self.judge = (Moments(groups, features, rows, device) for _ in range(2))
        self.squares = np.zeros((groups, rows))  # of what the judge wants

    def add(self, site: Site, targets: Targets, fit: Sequence[int], judge: Sequence[int]) -> None:
        """Take in one site, to which the dense stream has come."""
        stored, groups = self.weights.shape(site), len(self.weight)
        bias = self.weights.bias(site, self.squares.shape).astype(np.float32)[:, :, None]
        for sums, batches in ((self.fit, fit), (self.judge, judge)):
            for chunk in chunks(site, targets, batches, stored, groups):
                wanted = chunk.wanted - bias
                sums.add(chunk.columns, wanted, chunk.samples)
                if sums is self.judge:
                    self.squares += squares_of(wanted)

    def solve(self, strength: float) -> tuple[float, float]:
        """Store the rows that are no worse; relative squared errors of the site before and after.

        The weights stay as they were where sums are no numbers.
        """
        old = self._judged(self.weight, np.zeros(self.squares.shape))
        new = self._judged(*ridge(self.fit, self.weight, strength, self.affine))
        taken = no_worse(old, new)
        self.weights.put(self.sites[0], taken.weight, taken.bias if self.affine else None)
        scale = max(float(spread(self.judge, self.squares).sum()), 1e-30)
        return float(old.missed.sum()) / scale, float(taken.missed.sum()) / scale

    def _judged(self, weight: Matrix, bias: Matrix) -> Rows:
        """With the error on inputs that did not shape them."""
        return Rows(weight, bias, missed(self.judge, self.squares, weight, bias))


def missed(sums: Moments, squares: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """Σ (y - W x - b)² per row, `[groups, rows]`, from moments and the squares of y."""
    made = weight @ sums.xx
    found = squares - 2.0 * (weight * sums.yx).sum(2) + (made * weight).sum(2)
    lost = sums.y - np.einsum("grf,gf->gr", weight, sums.x)
    return np.asarray(np.maximum(found - bias * (2.0 * lost - bias * sums.count), 0.0))


def spread(sums: Moments, squares: Matrix) -> Matrix:
    """Summed squared distances of the rows y from their means, `[groups, rows]`."""
    return np.asarray(squares - np.square(sums.y) / max(sums.count, 1))
