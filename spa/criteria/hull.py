"""From the steps of an error curve to scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9  # share by which equal slopes are told apart
Steps = NDArray[np.float64]


def hull(steps: Steps) -> Steps:
    """Slopes of the largest convex curve below the one with these steps, `[n]`.

    They never fall, their sums follow the curve, and equal ones are told apart by their order.
    """
    corners = np.arange(len(steps) + 1)
    while True:
        sizes = np.diff(corners)
        slopes = np.add.reduceat(steps, corners[:-1]) / sizes
        below = np.diff(slopes) >= 0
        if len(corners) < 3 or below.all():
            break
        corners = corners[np.concatenate([[True], below, [True]])]  # above a chord: on no hull
    return np.asarray(np.repeat(slopes, sizes) * (1 + TIE * np.arange(len(steps))))
