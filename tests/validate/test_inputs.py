"""What the drift is measured on: enough rows, for little time, and never those fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from spa.graph import read
from spa.probes import plain, probe_for
from spa.validate.drift import drift, total
from spa.validate.inputs import FEWEST, ROWS, WORK, fresh, random
from tests.carried import DIGITS
from tests.probes.test_choose import image_model


@pytest.fixture(scope="module")
def digits():
    graph = read(DIGITS)
    return graph, probe_for(graph)


@pytest.mark.parametrize(
    ("macs", "rows"), [(0, ROWS), (1e6, ROWS), (WORK / 20, 20), (WORK, FEWEST), (1e15, FEWEST)]
)
def test_as_many_rows_as_the_model_can_run_in_a_few_seconds(digits, macs, rows):
    on = fresh(*digits, macs)
    assert on.rows == rows == sum(len(run["images"]) for run in on.runs)
    assert (on.kind, on.held_back) == ("leaves", True)


def test_large_activations_run_a_few_at_once(monkeypatch, digits):
    want = np.concatenate([run["images"] for run in fresh(*digits, 1e6).runs])
    monkeypatch.setattr("spa.validate.inputs.AT_ONCE", 1)
    on = fresh(*digits, 1e6)
    assert {len(run["images"]) for run in on.runs} == {1}
    assert np.array_equal(np.concatenate([run["images"] for run in on.runs]), want)
    monkeypatch.setattr("spa.validate.inputs.NUMBERS", 1)
    assert fresh(*digits, 1e6).rows == FEWEST


def test_a_fixed_batch_is_filled():
    graph = image_model(shape=(5, 3, 16, 16))
    on = fresh(graph, probe_for(graph), 1e12)
    assert on.rows == 5 and [len(run["x"]) for run in on.runs] == [5]
    assert [len(run["x"]) for run in fresh(graph, probe_for(graph), WORK / 8).runs] == [5, 5]


def test_runs_that_are_timed_hold_what_those_of_the_analysis_hold(digits):
    size = len(plain.feeds(digits[0], 0)["images"])
    assert {len(run["images"]) for run in fresh(*digits, WORK).runs} == {size} != {1}


def test_random_inputs_are_those_of_the_proof(digits):
    on = random(digits[0], 3)
    assert on.kind == "random" and on.rows == len(on.runs[0]["images"])
    assert np.array_equal(on.runs[0]["images"], plain.feeds(digits[0], 3)["images"])


def test_drift_over_several_runs_is_that_of_one_large_run():
    rng = np.random.default_rng(0)
    one, two = ({"y": rng.standard_normal((12, 5)), "z": rng.random((12, 2, 3))} for _ in range(2))
    parts = [
        tuple({name: value[rows] for name, value in each.items()} for each in (one, two))
        for rows in np.arange(12).reshape(4, 3)
    ]
    whole, found = drift(one, two), total(parts)
    assert found.relative == pytest.approx(whole.relative)
    assert found.cosine == pytest.approx(whole.cosine)
    assert found.max_abs == whole.max_abs and found.top1 == pytest.approx(whole.top1)
    assert found.plain["y"] == pytest.approx(
        np.linalg.norm(one["y"] - two["y"]) / np.linalg.norm(one["y"])
    )


def test_one_run_that_is_not_finite_spoils_the_rest():
    good, bad = {"y": np.ones((1, 4))}, {"y": np.full((1, 4), np.nan)}
    found = total([(good, good), (good, bad), (good, good)])
    assert found.relative["y"] == np.inf and found.cosine["y"] == 0.0


def test_where_nothing_is_finite_nothing_is_said():
    bad = {"y": np.full((2, 4), np.nan)}
    found = total([(bad, bad)])
    assert found.relative == {"y": None} and found.max_abs is None and "y" in found.unverified
    empty = {"y": np.zeros((0, 4))}
    found = total([(empty, empty)])
    assert found.relative == {"y": None} and "y" in found.unverified
