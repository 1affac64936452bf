"""Timing takes turns, so that what disturbs one run disturbs them all."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spa.validate import Timing, measure


class Fake:
    """A session that takes a given time on a clock of its own."""

    def __init__(self, name, calls, clock, millis):
        self.name, self.calls, self.clock, self.millis = name, calls, clock, iter(millis)

    def run(self, names, feed):
        assert names is None and feed == {"x": self.name}
        self.calls.append(self.name)
        self.clock[0] += next(self.millis) / 1e3


@pytest.fixture
def bench(monkeypatch):
    """Measure fakes; returns the timing and the order of the runs."""
    clock = [100.0]

    def call(millis, **options):
        calls = []
        sessions = [Fake(n, calls, clock, m) for n, m in zip("abc", millis, strict=False)]
        monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
        feeds = [{"x": session.name} for session in sessions]
        options = {"runs": 4, "warmup": 0, "clock": lambda: clock[0], **options}
        return measure(sessions, feeds, **options), "".join(calls)

    return call


def test_sessions_alternate_and_swap_places(bench):
    timing, order = bench([[10] * 4, [5] * 4])
    assert order == "abbaabba"
    np.testing.assert_allclose(timing.millis, [[10, 5]] * 4)
    assert timing.medians == pytest.approx([10, 5]) and timing.speedups == pytest.approx([1, 2])


def test_warmup_is_not_timed(bench):
    timing, order = bench(
        [[999, 999, 10, 10], [999, 999, 5, 5], [999, 999, 1, 1]], warmup=2, runs=2
    )
    assert order == "abcabc" + "abccba"
    assert timing.millis.shape == (2, 3) and timing.millis.max() < 11


def test_speedup_is_the_median_of_pairs(bench):
    """One slow spell that hits both does not change the ratio."""
    timing, _ = bench([[10, 100, 10], [5, 50, 5]], runs=3)
    assert timing.speedups == pytest.approx([1, 2])
    timing, _ = bench([[10, 10, 10], [5, 500, 5]], runs=3)
    assert timing.speedups == pytest.approx([1, 2]) and timing.medians == pytest.approx([10, 5])


def test_a_limit_in_seconds_stops_after_three_runs_at_least(bench):
    timing, _ = bench([[400] * 50, [400] * 50], runs=50, seconds=1.0)
    assert len(timing.millis) == 3
    timing, _ = bench([[10] * 50, [10] * 50], runs=50, seconds=0.11)
    assert len(timing.millis) == 6
    timing, _ = bench([[400] * 2, [400] * 2], runs=2, seconds=0.1)
    assert len(timing.millis) == 2


def test_a_single_session():
    assert Timing(np.array([[2.0], [4.0], [3.0]])).medians == [3.0]
    assert Timing(np.array([[2.0]])).speedups == [1.0]


def test_every_session_needs_a_feed():
    class Session:
        def run(self, names, feed):
            pass

    with pytest.raises(ValueError, match="shorter"):
        measure([Session(), Session()], [{}], runs=1, warmup=1)
