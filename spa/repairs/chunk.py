"""One batch of a site's least-squares problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.executor.least_squares import squares_of

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Columns `[groups, features, m]` of so many samples; rows wanted, `[groups, rows, m]`."""

    columns: Array
    wanted: Array
    samples: int

    @property
    def spread(self) -> Matrix:
        """Summed squared distances of the rows wanted from their means, `[groups, rows]`."""
        mean = self.wanted.mean(2, keepdims=True)
        return squares_of(self.wanted - mean)

    def gap(self, weight: Matrix, bias: Matrix) -> Array:
        """What `weight` `[groups, rows, features]` and `bias` `[groups, rows]` fall short of."""
        made = weight.astype(np.float32) @ self.columns + bias.astype(np.float32)[:, :, None]
        found: Array = self.wanted - made
        return found

    def missed(self, weight: Matrix, bias: Matrix) -> Matrix:
        """Squared error per row, `[groups, rows]`, of `weight` and `bias`."""
        return squares_of(self.gap(weight, bias))
