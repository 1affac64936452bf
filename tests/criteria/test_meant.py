"""Stored integers are ranked by what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

import spa
from tests.nets.layers import of_integers

ZERO = 200


def stored():
    """Integers, scales per channel, and a zero point far from the middle."""
    random = np.random.default_rng(3)  # of its own: which tests run before does not count
    first = random.integers(150, 250, (12, 3, 3, 3)).astype(np.uint8)
    scale = np.linspace(0.001, 0.1, 12).astype(np.float32)[random.permutation(12)]
    second = random.integers(-99, 99, (4, 12, 3, 3)).astype(np.int8)
    return first, scale, ZERO, second, 0.02


@pytest.mark.parametrize("scorer", ["l1", "l2", "fpgm"])
def test_integers_are_ranked_as_what_they_stand_for(scorer):
    given = stored()
    kept = []
    for quantised in (True, False):
        model = of_integers(*given, floats=not quantised)
        plan = spa.plan(model, 0.5, scorer=scorer, round_to=1).plan
        kept.append(plan.tensors["w"]["keep"])
    assert kept[0] == kept[1] and kept[0]
