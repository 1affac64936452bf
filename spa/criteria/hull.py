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
    from scipy.optimize import isotonic_regression

    slopes = isotonic_regression(steps).x if len(steps) else steps
    return np.asarray(slopes * (1 + TIE * np.arange(len(slopes))))
