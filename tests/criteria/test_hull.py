"""Slopes of a convex hull, against their definition: the steepest of the shallowest chords."""

from __future__ import annotations

import numpy as np
import pytest

from spa.criteria.activation import hull


def slopes(steps):
    """At every step the largest, over where a chord may begin, of the least mean up to its end."""
    size = range(len(steps))
    chords = [[np.mean(steps[a : b + 1]) if b >= a else np.inf for b in size] for a in size]
    return [max(min(row[i:]) for row in chords[: i + 1]) for i in size]


@pytest.mark.parametrize("steps", [[1, 2, 4], [3, 1], [5, 4, 3, 2], [1, 9, 2, 2, 2, 7], [2.5]])
def test_slopes_are_those_of_the_hull(steps):
    np.testing.assert_allclose(hull(np.array(steps, float)), slopes(steps))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_on_random_curves(scale):
    rng = np.random.default_rng(0)
    for size in (2, 10, 60):
        steps = scale * rng.random(size) ** 3
        found = hull(steps)
        np.testing.assert_allclose(found, slopes(steps), rtol=1e-6)
        assert (np.diff(found) > 0).all(), "equal slopes are told apart by their order"
        assert found.sum() == pytest.approx(steps.sum())


def test_nothing_has_no_slopes():
    assert hull(np.zeros(0)).shape == (0,)
