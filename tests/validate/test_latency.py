"""Timing takes turns, so that what disturbs one run disturbs them all."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from spa.validate import Timing, measure, side_by_side
from spa.validate.latency import AGREE, FEWEST, PATIENT, SECONDS


class Fake:
    """A session that takes a given time on a clock of its own."""

    def __init__(self, name, calls, clock, millis):
        self.name, self.calls, self.clock, self.millis = name, calls, clock, iter(millis)

    def run(self, names, feed, options):
        assert names is None and feed == {"x": self.name}
        self.calls.append(self.name)
        self.clock[0] += next(self.millis) / 1e3


@pytest.fixture
def bench(monkeypatch):
    """Measure fakes; returns the timing and the order of the runs."""
    clock = [100.0]

    def call(millis, how=measure, **options):
        calls = []
        sessions = [Fake(n, calls, clock, m) for n, m in zip("abc", millis, strict=False)]
        monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
        feeds = [{"x": session.name} for session in sessions]
        options = {"warmup": 0, "clock": lambda: clock[0], **options}
        if how is measure:
            options = {"runs": 4, **options}
        return how(sessions, feeds, **options), "".join(calls)

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
        def run(self, names, feed, options):
            pass

    with pytest.raises(ValueError, match="shorter"):
        measure([Session(), Session()], [{}], runs=1, warmup=1)


# --- in blocks, until the ratios agree ------------------------------------------------------------


def steady(*millis):
    """Sessions that take a given time; with noise, which repeats, where a list is given."""
    return [itertools.cycle(np.atleast_1d(m)) for m in millis]


@pytest.fixture
def compared(bench):
    """Compare fakes; returns the timing and the order of the timed runs."""

    def call(*millis, **options):
        return bench(steady(*millis), how=side_by_side, warmup=0, **options)

    return call


def test_a_turn_is_a_block_of_runs(bench):
    timing, order = bench([[10] * 6, [5] * 6], runs=6, block=2)
    assert order == "aabbbbaaaabb"
    assert timing.ratios.shape == (3, 2) and timing.speedups == pytest.approx([1, 2])


def test_the_last_block_may_be_short(bench):
    timing, order = bench([[10] * 5, [5] * 4 + [2]], runs=5, block=2)
    assert order == "aabbbbaaab"
    np.testing.assert_allclose(timing.ratios[:, 1], [2, 2, 5])


def test_a_block_is_judged_by_its_undisturbed_runs(bench):
    """Two of eight runs that another process interrupts do not change the ratio."""
    disturbed = [10, 10, 90, 10, 10, 10, 400, 10]
    timing, _ = bench([disturbed * 3, [5] * 24], runs=24, block=8)
    np.testing.assert_allclose(timing.ratios[:, 1], 2)


def test_the_interval_is_that_of_the_median():
    """Of 25 ratios the 8th and the 18th; of few, all."""
    ratios = np.random.default_rng(0).permutation(np.arange(1.0, 26.0))
    timing = Timing(np.stack([np.full(25, 26.0), 26.0 / ratios], axis=1))
    assert timing.speedups[1] == pytest.approx(13) and timing.intervals[0] == (1, 1)
    assert timing.intervals[1] == pytest.approx((8, 18))
    few = Timing(np.array([[2.0, 1.0], [3.0, 1.0], [9.0, 1.0]]))
    assert few.intervals[1] == pytest.approx((2, 9))


def test_ratios_that_agree_end_it(compared):
    timing, order = compared(10, 5)
    assert len(timing.ratios) == FEWEST and order == "abba" * (FEWEST // 2) + "ab" * (FEWEST % 2)


def test_ratios_that_disagree_take_a_second(compared):
    noisy = [10, 10, 10, 20, 20, 20]
    timing, _ = compared(noisy, 5)
    low, high = timing.intervals[1]
    assert high > AGREE * low
    assert timing.millis.sum() / 1e3 == pytest.approx(SECONDS, abs=0.05)


def test_slow_models_are_compared_three_times(compared):
    timing, _ = compared(4000, 2000)
    assert len(timing.millis) == 3 and timing.speedups == pytest.approx([1, 2])


def test_slow_runs_that_were_made_for_something_else_count(bench):
    """All but the first, which warms up; where they are too few others follow."""
    known = [(9.0, 9.0), (4.0, 2.0), (4.1, 2.0), (4.2, 2.0)]
    options = {"how": side_by_side, "warmup": 2}
    timing, order = bench(steady(4000, 2000), known=known, **options)
    assert order == "" and timing.medians == pytest.approx([4100, 2000])
    timing, order = bench(steady(4000, 2000), known=known[:3], **options)
    assert order == "ab" and timing.medians == pytest.approx([4000, 2000])
    timing, order = bench(steady(4000, 2000), known=known[:1], **options)
    assert order == "aabb" + "abbaab"


def test_quick_runs_that_were_made_for_something_else_do_not(bench):
    known = [(0.02, 0.01)] * 9
    timing, order = bench(steady(10, 5), how=side_by_side, warmup=0, known=known)
    assert len(timing.ratios) == FEWEST and len(order) == timing.millis.size


@pytest.mark.parametrize(("wanted", "seconds"), [(3.0, PATIENT), (1.5, SECONDS), (6.0, SECONDS)])
def test_a_ratio_that_may_or_may_not_be_reached_takes_longer(compared, wanted, seconds):
    """One within the interval does; one that lies beside it is settled."""
    timing, _ = compared([10, 10, 10, 20, 20, 20], 5, wanted=wanted)
    low, high = timing.intervals[1]
    assert (low < wanted <= high) == (seconds == PATIENT)
    assert timing.millis.sum() / 1e3 == pytest.approx(seconds, abs=0.05)


def test_models_that_are_the_same_are_no_faster(compared):
    timing, _ = compared([10, 10.1, 9.9, 10.05, 9.95], [10, 9.9, 10.1])
    low, high = timing.intervals[1]
    assert 0.97 < low <= 1 <= high < 1.03


def test_warming_up_takes_a_while_and_finds_the_block(bench):
    """Short runs are warmed up for 50 ms, and then taken ten milliseconds at a time."""
    timing, order = bench(steady(1, 0.5), how=side_by_side, warmup=2)
    warm = len(order) - timing.millis.size
    assert order.startswith("a" * 50 + "b" * 100) and warm == pytest.approx(150, abs=2)
    assert timing.block in (9, 10)


def test_the_number_of_runs_can_be_told(bench):
    timing, _ = bench(steady(1, 0.5), how=side_by_side, warmup=1, runs=7)
    assert len(timing.millis) == 7 and timing.block == 1
    timing, _ = bench(steady(1, 0.5), how=side_by_side, warmup=1, runs=60)
    assert len(timing.millis) == 60 and timing.block == 4
