"""Timing that a busy machine does not mislead, in onnxruntime itself."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from spa.latency import Whole, stopwatch
from spa.latency.extract import Trial
from spa.rewrite import rewrite
from spa.validate.latency import Timing
from tests.carried import coupling_of
from tests.nets import Net

pytest.importorskip("onnxruntime")


def products(width, count, op="MatMul"):
    """A chain of products of one width, as a trial."""
    n = Net(batch=width)
    y, weight = n.input("x", width), n.const(np.eye(width, dtype=np.float32))
    for _ in range(count):
        y = n.node(op, y, weight)
    return Trial(f"{op}{width}x{count}", n.done(y), {"x": np.ones((width, width), np.float32)})


def test_more_work_takes_longer():
    short, long = stopwatch("cpu", 1)([products(64, 1), products(512, 4)])
    assert 0 <= short < long


def test_twice_less_once_is_once():
    once, twice = products(512, 2), products(512, 4)
    both = replace(once, twice=twice.model)
    plain, difference = stopwatch("cpu", 1)([once, both])
    assert 0.1 * plain < difference < 10 * plain


def test_what_does_not_run_has_no_time():
    broken = products(8, 1, op="NoSuchOperator")
    assert stopwatch("cpu", 1)([broken, products(64, 1)])[0] is None
    half = replace(products(64, 1), twice=broken.model)
    assert stopwatch("cpu", 1)([half]) == [None]


def test_the_fastest_runs_count(monkeypatch):
    """Nine of ten runs are interrupted, and those of one model longer."""
    coupling = coupling_of("plain")
    whole = Whole(coupling, "cpu", 1, 0)
    millis = np.tile([10.0, 6.0], (100, 1))
    millis[10:] += np.random.default_rng(0).exponential([5.0, 50.0], (90, 2))
    monkeypatch.setattr(sys.modules[Whole.__module__], "measure", lambda *_, **__: Timing(millis))
    assert whole.removed(coupling.graph.proto) == pytest.approx(0.4, abs=0.02)
    assert Timing(millis).speedups[1] < 1.0, "which the median of pairs would take for slower"


@pytest.mark.slow
def test_a_whole_model_is_timed_against_its_own():
    coupling = coupling_of("fashion")
    whole = Whole(coupling, "cpu", 1, 0)
    assert 0 < whole.overhead < whole.fastest
    nothing = abs(whole.removed(coupling.graph.proto))
    alive = coupling.everything()
    for group in coupling.groups:
        alive[group.cells[:, : group.size // 2]] = False
    assert whole.removed(rewrite(coupling, alive)) > nothing
