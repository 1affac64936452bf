"""Paired timing: sessions take turns, so that a noisy machine disturbs them alike.

A turn is a block of runs of one session, as in use, where nothing else comes between two runs.  The
ratio of two blocks side by side is one observation; how many it takes is decided by how far they
agree, not fixed beforehand.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import runtime
from spa.runtime import Session

BLOCK = 0.01
"""Seconds of a block, about: long beside a change of session, short beside a machine's moods."""
WARM = 0.05  # seconds that a session is warmed up for, at least
FEWEST = 15  # rounds of blocks before the ratios may be thought to agree
AGREE = 1.04
"""Ends of the interval of a ratio, relative to each other, at which it is known well enough."""
SECONDS, PATIENT = 1.0, 5.0
"""That measuring may take, and that it may where the interval holds a ratio someone asked for."""
QUIET = 25  # of the runs of a block the percentile that stands for them
Feed = Mapping[str, NDArray[Any]]
Clock = Callable[[], float]


@dataclass(frozen=True, eq=False)
class Timing:
    """Milliseconds per run, float64 `[runs, sessions]`; rows were taken side by side.

    `block` runs of one session were taken in a row before the next had its turn.
    """

    millis: NDArray[np.float64]
    block: int = 1

    @property
    def medians(self) -> list[float]:
        """Median latency of every session, ms."""
        return [float(m) for m in np.median(self.millis, axis=0)]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """First / k-th session, `[rounds, sessions]`: lower quartiles of blocks side by side.

        Whatever else the machine does can only slow a run down.
        """
        whole = len(self.millis) // self.block * self.block
        blocks = self.millis[:whole].reshape(-1, self.block, self.millis.shape[1])
        typical = np.percentile(blocks, QUIET, axis=1)
        if whole < len(self.millis):
            typical = np.vstack([typical, np.percentile(self.millis[whole:], QUIET, axis=0)])
        found: NDArray[np.float64] = typical[:, :1] / typical
        return found

    @property
    def speedups(self) -> list[float]:
        """Median of the paired ratios first / k-th session; above 1 is faster than the first."""
        return [float(r) for r in np.median(self.ratios, axis=0)]

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """Where the medians of the ratios lie, at 95 %.

        Between two of the sorted ratios, whatever their distribution: of n independent ones the
        number below their true median is binomial, with mean n/2 and deviation sqrt(n)/2.
        """
        ranked = np.sort(self.ratios, axis=0)
        middle, reach = len(ranked) / 2, 0.98 * math.sqrt(len(ranked))
        low = max(round(middle - reach), 1) - 1
        high = min(round(middle + reach + 1), len(ranked)) - 1
        return [(float(a), float(b)) for a, b in zip(ranked[low], ranked[high], strict=True)]

    @property
    def calm(self) -> list[float]:
        """Mean latency of every session's fastest tenth of runs, ms: what a busy machine shows."""
        fastest = np.sort(self.millis, axis=0)[: max(1, len(self.millis) // 10)]
        return [float(m) for m in fastest.mean(0)]


def side_by_side(
    sessions: Sequence[Session],
    feeds: Sequence[Feed],
    *,
    runs: int | None = None,
    warmup: int = 2,
    wanted: float | None = None,
    known: Sequence[Sequence[float]] = (),
    clock: Clock = time.perf_counter,
) -> Timing:
    """How much faster than the first session the others are: what every command reports.

    Rounds are taken until the ratios agree (`AGREE`), for `SECONDS` at most; while a ratio that
    someone asked for (`wanted`, of the last session) is one of those that may be true, for
    `PATIENT`.  At least three are taken, and exactly so many `runs` where that is said.  There are
    at least `warmup` runs before the timed ones; 0 leaves out all warming up.  Seconds that are
    `known` of rounds of one run each, the first of which warmed the sessions up, are counted, too,
    where runs are so long that few are taken.
    """
    started = time.perf_counter()
    before = _long(known)
    if before is not None and runs is None:
        started -= float(before.millis.sum()) / 1e3
        warmup = 0
    longest = max(_warm(*each, warmup, clock) for each in zip(sessions, feeds, strict=True))
    block = max(1, int(BLOCK / longest)) if longest > 0 else 1
    if runs is not None:
        block = max(1, min(block, runs // FEWEST))
        return measure(sessions, feeds, runs=runs, warmup=0, block=block, clock=clock)

    def enough(timing: Timing) -> bool:
        rounds = len(timing.millis) // block
        if rounds < 3:
            return False
        spent = time.perf_counter() - started
        low, high = timing.intervals[-1]
        if wanted is not None and low < wanted <= high:
            return spent > PATIENT
        agree = all(high <= AGREE * low for low, high in timing.intervals)
        return (rounds >= FEWEST and agree) or spent > SECONDS

    if before is not None and enough(before):
        return before
    asked: dict[str, Any] = {"enough": enough, "before": before}
    return measure(sessions, feeds, warmup=0, block=block, clock=clock, **asked)


def _long(known: Sequence[Sequence[float]]) -> Timing | None:
    """Rounds whose seconds are known, without the first, where few of them fill the time."""
    rounds = np.asarray(known[1:], np.float64) * 1e3
    few = len(rounds) and rounds.sum(1).min() * FEWEST > SECONDS * 1e3
    return Timing(rounds) if few else None


def _warm(session: Session, feed: Feed, warmup: int, clock: Clock) -> float:
    """Run a session until it is warm; the seconds of its fastest run, 0.0 if there was none."""
    fastest, turn, started = math.inf, 0, time.perf_counter()
    with runtime.stoppable() as options:
        while turn < warmup or (warmup and time.perf_counter() - started < WARM):
            begin = clock()
            session.run(None, feed, options)
            fastest = min(fastest, clock() - begin)
            turn += 1
    return fastest if turn else 0.0


def measure(
    sessions: Sequence[Session],
    feeds: Sequence[Feed],
    *,
    runs: int | None = None,
    warmup: int,
    seconds: float | None = None,
    block: int = 1,
    clock: Clock = time.perf_counter,
    enough: Callable[[Timing], bool] | None = None,
    before: Timing | None = None,
) -> Timing:
    """Run `block` times every session in turn, in alternating order, after rounds taken `before`.

    Ends after so many `runs` of each, once so many `seconds` have gone and three rounds at least,
    or when what there is is `enough`.  `clock` tells the seconds that count.
    """
    for _ in range(warmup):
        for session, feed in zip(sessions, feeds, strict=True):
            _block(session, feed, 1, clock)
    pairs = list(zip(range(len(sessions)), sessions, feeds, strict=True))
    rounds = [] if before is None else [turn[None] for turn in before.millis]
    started, taken = time.perf_counter(), 0
    while runs is None or taken < runs:
        size = block if runs is None else min(block, runs - taken)
        turn = np.zeros((size, len(sessions)))
        for k, session, feed in pairs if len(rounds) % 2 == 0 else reversed(pairs):
            turn[:, k] = _block(session, feed, size, clock)
        rounds.append(turn)
        taken += size
        if seconds is not None and len(rounds) > 2 and time.perf_counter() - started > seconds:
            break
        if enough is not None and enough(Timing(np.concatenate(rounds), block)):
            break
    return Timing(np.concatenate(rounds), block)


def _block(session: Session, feed: Feed, size: int, clock: Clock) -> NDArray[np.float64]:
    """Milliseconds of so many runs in a row."""
    times = np.zeros(size)
    with runtime.stoppable() as options:
        for k in range(size):
            begin = clock()
            session.run(None, feed, options)
            times[k] = clock() - begin
    return times * 1e3
