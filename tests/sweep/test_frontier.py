"""A harder cut is never told to be better than a milder one: it takes that one's place."""

from __future__ import annotations

import pytest

import spa
from spa.reports import tried
from spa.reports.trials import empty, frontier
from tests.carried import DIGITS
from tests.gates import judges


def row(ratio, status="passed", **figures):
    return {**empty(ratio, status, None, 1.0), "params": int(1000 * (1 - ratio)), **figures}


def told(rows, name):
    return [each[name] for each in frontier(rows)]


def test_what_drifts_less_takes_the_place_of_all_that_are_milder():
    rows = [row(0.15, drift=0.116), row(0.2, drift=0.206), row(0.25, drift=0.154)]
    assert told(rows, "drift") == [0.116, 0.154, 0.154]
    assert told(rows, "instead") == [None, 0.25, None]
    assert told(rows, "ratio") == [0.15, 0.2, 0.25] and told(rows, "params") == [850, 750, 750]
    last = row(0.3, drift=0.01)
    assert told([*rows, last], "instead") == [0.3, 0.3, 0.3, None]


def test_what_is_in_order_stays():
    rows = [row(0.3, drift=0.2), row(0.1, drift=0.1), row(0.2, drift=0.1)]
    assert told(rows, "instead") == [None] * 3 and told(rows, "ratio") == [0.1, 0.2, 0.3]


def test_a_score_counts_before_the_drift_and_both_before_agreement():
    rows = [row(0.1, drift=0.2, score=0.9), row(0.2, drift=0.1, score=0.8)]
    assert told(rows, "instead") == [None, None]
    rows = [row(0.1, drift=0.1, score=0.8), row(0.2, drift=0.2, score=0.9)]
    assert told(rows, "instead") == [0.2, None]
    assert told([row(0.1, agreement=0.9), row(0.2, agreement=0.95)], "instead") == [0.2, None]
    assert told([row(0.1), row(0.2)], "instead") == [None, None]


def test_what_passes_counts_before_any_figure():
    rows = [row(0.1, "missed", drift=0.1), row(0.2, drift=0.3), row(0.3, "missed", drift=0.05)]
    assert told(rows, "instead") == [0.2, None, None]
    assert told(rows, "status") == ["passed", "passed", "missed"]
    rows = [row(0.1, "unreachable"), row(0.2, "missed", drift=9.0)]
    assert told(rows, "instead") == [0.2, None]


def test_speeds_are_named_as_they_were_asked():
    rows = [row(0.2, drift=0.2, asked_speedup=1.25), row(1 / 3, drift=0.1, asked_speedup=1.5)]
    assert told(rows, "instead") == [1.5, None] and told(rows, "asked_speedup") == [1.25, 1.5]


@pytest.mark.parametrize("gates", [{}, {"max_drop": 1e9}])
def test_a_sweep_says_what_stands_for_another(gates):
    """By a check that likes what is small."""

    def light(path):
        return -judges.weights(path)

    ratios = (0.2, 0.3, 0.4)
    found = spa.sweep(DIGITS, ratios, check=light, scorer="l2", verify="run", **gates).report
    one, two, three = found["rows"][1:]
    assert one["instead"] == two["instead"] == 0.4 and three["instead"] is None
    assert one["score"] == two["score"] == three["score"] and one["ratio"] == 0.2
    assert one["bytes"] == three["bytes"] and one["reduction"] >= 0.4
    said = dict(tried.reasons(found))
    assert said["0.2"] == "the model for 0.4 removes more and keeps more" and "0.4" not in said
