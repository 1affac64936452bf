"""Paired timing: sessions take turns, so that a noisy machine disturbs them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Timing:
    """Milliseconds per run, float64 `[runs, sessions]`; rows were taken side by side."""

    millis: NDArray[np.float64]

    @property
    def medians(self) -> list[float]:
        """Median latency of every session, ms."""
        return [float(m) for m in np.median(self.millis, axis=0)]

    @property
    def speedups(self) -> list[float]:
        """Median of the paired ratios first / k-th session; above 1 is faster than the first."""
        return [float(r) for r in np.median(self.millis[:, :1] / self.millis, axis=0)]

    @property
    def calm(self) -> list[float]:
        """Mean latency of every session's fastest tenth of runs, ms: what a busy machine shows."""
        fastest = np.sort(self.millis, axis=0)[: max(1, len(self.millis) // 10)]
        return [float(m) for m in fastest.mean(0)]


def measure(
    sessions: Sequence[Any],
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    *,
    runs: int,
    warmup: int,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Run every session in turn, `runs` times, in alternating order.

    With `seconds`, measuring stops once that much time has gone (at least three runs are taken).
    `clock` tells the seconds that count.
    """
    for _ in range(warmup):
        for session, feed in zip(sessions, feeds, strict=True):
            session.run(None, feed)
    rows = []
    started = time.perf_counter()
    for turn in range(runs):
        row = np.zeros(len(sessions))
        order = range(len(sessions)) if turn % 2 == 0 else range(len(sessions))[::-1]
        for k in order:
            begin = clock()
            sessions[k].run(None, feeds[k])
            row[k] = (clock() - begin) * 1e3
        rows.append(row)
        if seconds is not None and turn >= 2 and time.perf_counter() - started > seconds:
            break
    return Timing(np.stack(rows))
