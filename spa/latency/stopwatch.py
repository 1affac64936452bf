"""Time small models against each other, and a whole model against its pruned version."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa import devices, runtime
from spa.coupling.model import Coupling
from spa.devices import CPU, Device
from spa.errors import ReadError
from spa.latency.extract import Trial, empty
from spa.runtime import Options, Session
from spa.validate.inputs import feeds_at
from spa.validate.latency import Timing, measure

FEWEST, ROUNDS = 7, 60
ALIKE = 1.04  # the two fastest rounds differ by no more once nothing disturbs them
SLOW = 1.0  # seconds that the rounds of one trial may take
PAIRED = 1.0  # seconds for a comparison of whole models, and again until two halves of it agree
AGAIN = 6
BRIEF = 0.25, 2  # the same, of choices that are only compared
AGREE = 0.01
RUNS = 20000  # at most
Feeds = Mapping[str, NDArray[Any]]
Run = Callable[["Options | None"], None]
Stopwatch = Callable[[Sequence[Trial]], list[float | None]]
"""Milliseconds of every trial, None for what does not run."""


def stopwatch(device: Device = "auto", threads: int = 0) -> Stopwatch:
    """Time trials in onnxruntime, without what a run costs by itself.

    They take turns, so that what else the machine does falls on all of them and each finds the
    caches as another left them; the fastest round counts, as a disturbance can only slow one down,
    and rounds go on until the two fastest agree.
    """

    def timed(trials: Sequence[Trial]) -> list[float | None]:
        pairs = [(m, t.feeds) for t in (empty(), *trials) for m in (t.model, t.twice) if m]
        best = iter(_fastest(pairs, device, threads))
        overhead, found = next(best), []
        for trial in trials:
            once = next(best)
            less = overhead
            if trial.twice is not None:
                less, once = once, next(best)
            runs = np.isfinite(once) and np.isfinite(less)
            found.append(max(float(once - less), 0.0) * 1e3 if runs else None)
        return found

    return timed


def clock_for(device: Device, threads: int) -> Callable[[], float]:
    """What tells the seconds of a run.

    One thread on the CPU has a clock of its own, which stands while others have the processor;
    all else is timed by the clock on the wall.
    """
    alone = threads == 1 and devices.providers(device)[0] == CPU
    fine = time.get_clock_info("thread_time").resolution <= 1e-6  # not on every system
    return time.thread_time if alone and fine else time.perf_counter


def _fastest(
    pairs: Sequence[tuple[ModelProto, Feeds]], device: Device, threads: int
) -> NDArray[np.float64]:
    """Seconds of every model's fastest run, infinite where it does not run."""
    ready = [_ready(*pair, device, threads) for pair in pairs]
    clock = clock_for(device, threads)
    best = [[np.inf, np.inf] for _ in ready]
    spent = np.zeros(len(ready))
    with runtime.stoppable() as options:
        for turn in range(ROUNDS):
            for k, run in enumerate(ready):
                done = best[k][1] <= ALIKE * best[k][0] < np.inf or spent[k] > SLOW
                if run is None or (turn >= FEWEST and done):
                    continue
                began = clock()
                run(options)
                took = clock() - began
                best[k] = sorted([*best[k], took])[:2]
                spent[k] += took
    return np.array(best)[:, 0]


def _ready(model: ModelProto, feeds: Feeds, device: Device, threads: int) -> Run | None:
    """A run of a model, already warm."""
    try:
        session = runtime.session(model, device=device, threads=threads, timed=True)
        runtime.run(session, feeds)
    except ReadError:
        return None
    if session.get_providers()[0] == CPU:
        return lambda options: session.run(None, feeds, options)
    return _resident(session, feeds)


def _resident(session: Session, feeds: Feeds) -> Run:
    """A run whose inputs and outputs stay on the GPU, where they are inside a model."""
    bound = session.io_binding()
    make = devices.library().OrtValue.ortvalue_from_numpy
    for name, array in feeds.items():
        bound.bind_ortvalue_input(name, make(array, "cuda", 0))
    for output in session.get_outputs():
        bound.bind_output(output.name, "cuda")

    def run(options: Options | None) -> None:
        session.run_with_iobinding(bound, options)
        bound.synchronize_outputs()

    run(None)
    return run


class Whole:
    """The unpruned model, ready to be timed next to others, and what is `left` of its time.

    That is the share which `short` takes, the model without the branches that are bypassed.
    """

    def __init__(
        self,
        coupling: Coupling,
        device: Device,
        threads: int,
        seed: int,
        short: ModelProto | None = None,
    ) -> None:
        graph = coupling.graph
        self._base, self._device, self._threads = graph.source.base_dir, device, threads
        self._seconds, self._again = PAIRED, AGAIN
        self._session = self._load(graph.proto)
        self._feeds = feeds_at(graph, seed)
        runtime.run(self._session, self._feeds)
        self.fastest = float(self._pair(self._session, 1.0).min())
        """Milliseconds of its fastest run."""
        nothing = _fastest([(empty().model, empty().feeds)] * 4, device, threads).min()
        self.overhead = min(float(nothing) * 1e3, self.fastest)
        """Milliseconds of a run that does nothing."""
        self.left = 1.0 if short is None else 1.0 - self.removed(short)

    def without(self, short: ModelProto) -> Whole:
        """The same beside a model without some of its branches."""
        other = copy(self)
        other.left = 1.0 - self.removed(short)
        return other

    def brief(self) -> Whole:
        """The same with less patience, to compare choices that are not final."""
        other = copy(self)
        other._seconds, other._again = BRIEF
        return other

    def _load(self, model: ModelProto) -> Session:
        return runtime.session(
            model, device=self._device, threads=self._threads, base_dir=self._base, timed=True
        )

    def _pair(self, other: Session, seconds: float) -> NDArray[np.float64]:
        sessions, feeds = [self._session, other], [self._feeds] * 2
        clock = clock_for(self._device, self._threads)
        return measure(sessions, feeds, runs=RUNS, warmup=2, seconds=seconds, clock=clock).millis

    def removed(self, small: ModelProto) -> float:
        """The share of the time that a pruned model saves, by the fastest tenth of both.

        On a busy machine most runs are disturbed, and not alike; these are the least.
        """
        other = self._load(small)
        millis = self._pair(other, self._seconds)
        for _ in range(self._again):
            millis = np.concatenate([millis, self._pair(other, self._seconds)])
            if abs(_saved(millis[::2]) - _saved(millis[1::2])) <= AGREE:
                break
        return _saved(millis)


def _saved(millis: NDArray[np.float64]) -> float:
    """The share that the second column is less than the first."""
    before, after = Timing(millis).calm
    return 1.0 - after / before
