"""Slopes of a convex hull, against isotonic regression, which is the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from spa.criteria.hull import hull


@pytest.mark.parametrize("steps", [[1, 2, 4], [3, 1], [5, 4, 3, 2], [1, 9, 2, 2, 2, 7], [2.5]])
def test_slopes_are_those_of_the_hull(steps):
    np.testing.assert_allclose(hull(np.array(steps, float)), isotonic_regression(steps).x)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_on_random_curves(scale):
    rng = np.random.default_rng(0)
    for size in (2, 10, 300):
        steps = scale * rng.random(size) ** 3
        found = hull(steps)
        np.testing.assert_allclose(found, isotonic_regression(steps).x, rtol=1e-6)
        assert (np.diff(found) > 0).all(), "equal slopes are told apart by their order"
        assert found.sum() == pytest.approx(steps.sum())


def test_nothing_has_no_slopes():
    assert hull(np.zeros(0)).shape == (0,)
