"""How many branches go: few trials, where the error is convex in their number."""

from __future__ import annotations

import math

import pytest

from spa.depth.least import TRIALS, bound, least


def looked(errors):
    """The number that is found, and which were looked at."""
    seen = []

    def error(k):
        seen.append(k)
        return errors[k]

    return least(error, len(errors) - 1), seen


@pytest.mark.parametrize("best", range(21))
def test_a_valley_is_found(best):
    found, seen = looked([1 + abs(k - best) for k in range(21)])
    assert abs(found - best) <= 1
    assert len(seen) == len(set(seen)) <= TRIALS


def test_nobody_looks_further_up_once_the_error_has_risen():
    found, seen = looked([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert found == 0
    assert seen == [0, 3, 1]  # nothing in between is better, as 1 is worse than 0


def test_a_little_rise_is_no_reason_to_stop():
    assert looked([1, 1.05, 1.1, 1.15, 0.9, 0.7, 0.6]) == (6, [0, 2, 4, 6])


def test_what_can_give_little_is_not_looked_at():
    flat = [0.642, 0.627, 0.612, 0.597, 0.582, 0.574, 0.567, 0.545, 0.524, 0.53, 0.541]
    assert looked(flat) == (8, [0, 4, 8, 10])


def test_numbers_that_miss_the_budget_are_passed_over():
    inf = math.inf
    assert looked([inf, inf, inf, 5, 4, 3, 4])[0] == 5
    assert looked([inf] * 7) == (0, [0, 2, 4, 6])


def test_there_may_be_no_branch():
    assert looked([3.0]) == (0, [0])


def test_the_bound_lies_on_the_lines_through_two_values_on_one_side():
    known = {0: 8.0, 2: 4.0, 6: 3.0, 8: 5.0}
    assert bound(known, 3) == 2.0  # by the line that falls; the other one leads to 0
    assert bound(known, 5) == 2.0  # by the one that rises
    assert bound({0: 8.0, 4: 4.0}, 2) == -math.inf
    assert bound({0: math.inf, 2: 4.0, 6: 3.0}, 4) == -math.inf
