"""Tuning from beginning to end: what is matched, how fast, how long, and what is kept.

Everything is settled before the first step that counts: how many steps fit into the time, as
measured on a few of them, and which rate does best on a short run.  From then on nothing depends
on the clock, so that the same seed and number of steps give the same bits on one machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spa.errors import UsageError
from spa.events import Advance, Counted
from spa.torch.module import OnnxModule
from spa.torch.tuning.checkpoint import Store
from spa.torch.tuning.fit import RATES, Fit, Judge, Score, Work, put, weights_of
from spa.torch.tuning.match import Matched, check_labels, matched
from spa.torch.tuning.rows import Pool, whole
from spa.torch.tuning.teacher import Teacher

TIMED = 4
"""Steps whose time is measured, the first left out."""
TRIAL_SHARE, FEWEST_TRIED, MOST_TRIED = 15, 8, 40
"""Every so many steps one is for each rate that is tried, within these bounds."""
NEAR = 1.1
"""Times the least error, within which the first rate is taken: in 40 steps a rate three times as
large brings the same, and in 400 more (docs/howto/tune.md)."""
LOOKS = 10
"""Times that the held-back rows are looked at."""
LOST = 4.0
"""Times the error at the start from which on, past the middle, nothing more is hoped for."""
FEWEST, MOST = 20, 100_000
KEPT_SECONDS = 30.0
"""Between two checkpoints."""


@dataclass(frozen=True)
class Budget:
    """How long to tune: seconds, or a number of steps; where both are told, the fewer."""

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, eq=False)
class Setting:
    """What tuning is told.

    Attributes:
        budget: how long.
        batch: rows of a step; `at_once`: of which so many run together.
        seed: of the order of the rows.
        room: bytes that the original's values may take.
        counted: begins to count steps of progress.
        stopped: tells, between two steps, whether a person wants an end.
    """

    budget: Budget
    batch: int
    at_once: int
    seed: int
    room: int
    counted: Counted
    stopped: Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it; scores are those of the held-back rows.

    Attributes:
        before, after: of what came in, and of what the module holds now.
        steps: that were taken; `planned`: that there were to be.
        rate: that was chosen; `tried`: the score of each after its short run, by its words.
        stopped: why it ended: "end", "interrupted", "lost".
        matched: what was compared.
        kept: whether weights changed; else all are as they were.
        resumable: whether a checkpoint lies there, to go on from.
    """

    before: Score
    after: Score
    steps: int
    planned: int
    rate: str
    tried: dict[str, Score]
    stopped: str
    matched: Matched
    kept: bool
    resumable: bool = False


def run(
    dense: OnnxModule,
    small: OnnxModule,
    fit: Sequence[Pool],
    held: Sequence[Pool],
    setting: Setting,
    store: Store,
) -> Outcome:
    """Tune `small`, which holds the best weights afterwards: never worse on `held` than before.

    Args:
        dense: the original.
        small: what is changed.
        fit: rows to tune on.
        held: rows to judge on.
        setting: how.
        store: where checkpoints lie.

    Raises:
        VerifyError: the two models do not belong together.
        UsageError: labels do not fit the outputs.
    """
    began = time.perf_counter()
    check_labels(small, fit)
    found = matched(dense, small, max((*held, *fit), key=lambda pool: pool.rows))
    if not found.divisible:
        fit, held = whole(fit, setting.batch), whole(held, setting.batch)
    works = _works(dense, small, (fit, held), found, setting)
    judge, start = Judge(works[1]), weights_of(small)
    before = judge()
    known = store.read()
    if known is None:
        settled = _settled(works[0], judge, start, setting, began)
        if settled is None:
            return Outcome(before, before, 0, 0, "", {}, "interrupted", found, kept=False)
        known, told = settled
    else:
        told = setting.counted(known["total"], "steps")
    return _Run(works[0], judge, start, before, known, setting, store).outcome(found, told)


def _works(
    dense: OnnxModule,
    small: OnnxModule,
    both: Sequence[Sequence[Pool]],
    found: Matched,
    setting: Setting,
) -> list[Work]:
    rows = sum(pool.rows for pools in both for pool in pools)
    told = setting.counted(rows, "rows")
    works = []
    for pools in both:
        teacher = Teacher(dense, pools, found, setting.batch, setting.room, told)
        work = Work(small, pools, found, teacher, setting.batch, setting.seed, setting.at_once)
        works.append(work)
    return works


def _settled(
    work: Work, judge: Judge, start: list[Tensor], setting: Setting, began: float
) -> tuple[dict[str, Any], Advance] | None:
    """How many steps there will be, and at which rate; None where nobody waits for them."""
    steps = setting.budget.steps or MOST
    if setting.budget.seconds is not None:
        pays = affordable(work, judge, start, setting.budget.seconds, began)
        if setting.budget.steps is not None and pays < FEWEST:
            return None  # nobody asked for more time than that
        steps = min(steps, max(FEWEST, pays))
    trial = min(MOST_TRIED, max(FEWEST_TRIED, steps // TRIAL_SHARE))
    told = setting.counted(trial * len(RATES) + steps, "steps")
    tried: dict[str, Score] = {}
    for rate in RATES:
        fit = Fit(work, rate, trial)
        for _ in range(trial):
            if setting.stopped():
                put(work.small, start)
                return None
            fit.step()
            told()
        tried[str(rate)] = judge()
        put(work.small, start)
    near = NEAR * min(score.total for score in tried.values())
    close = (r for r in RATES if math.isfinite(t := tried[str(r)].total) and t <= near)
    best = next(close, RATES[-1])
    kept = {words: tuple(score) for words, score in tried.items()}
    return {"total": steps, "rate": RATES.index(best), "tried": kept}, told


def affordable(work: Work, judge: Judge, start: list[Tensor], seconds: float, began: float) -> int:
    """How many steps fit into the time that is left, the trials and the looks included."""
    fit, spent = Fit(work, RATES[-1], 1 << 20), []
    for _ in range(TIMED):
        since = time.perf_counter()
        fit.step()
        spent.append(time.perf_counter() - since)
    put(work.small, start)
    since = time.perf_counter()
    judge()
    look = time.perf_counter() - since
    step = sorted(spent[1:])[len(spent[1:]) // 2]
    left = seconds - (time.perf_counter() - began) - look * (LOOKS + len(RATES))
    trials = 1 + len(RATES) / TRIAL_SHARE
    steps = left / step / trials
    if steps / TRIAL_SHARE > MOST_TRIED:
        steps = left / step - len(RATES) * MOST_TRIED
    return int(steps)


class _Run:
    """The steps that count."""

    def __init__(
        self,
        work: Work,
        judge: Judge,
        start: list[Tensor],
        before: Score,
        known: dict[str, Any],
        setting: Setting,
        store: Store,
    ) -> None:
        self.judge, self.start, self.before, self.known = judge, start, before, known
        self.setting, self.store, self.small = setting, store, work.small
        self.fit = Fit(work, RATES[known["rate"]], known["total"])
        self.best, self.weights = before, start
        self._saved, self._resumable = time.perf_counter(), "fit" in known
        if self._resumable:
            self.fit.restore(known["fit"])
            self.best, self.weights = Score(*known["best"]), list(known["weights"])

    def outcome(self, found: Matched, told: Advance) -> Outcome:
        """Take them, and put the best weights into the module."""
        if self.fit.done:
            told(self.fit.done)
        stopped = self._steps(told)
        kept = self.best < self.before
        put(self.small, self.weights if kept else self.start)
        if stopped == "end" and self.store.lasting:
            self._save()
        elif stopped != "interrupted":
            self.store.forget()
        return Outcome(
            self.before,
            self.best if kept else self.before,
            self.fit.done,
            self.fit.total,
            str(self.fit.rate),
            {words: Score(*score) for words, score in self.known["tried"].items()},
            stopped,
            found,
            kept,
            self._resumable,
        )

    def _steps(self, told: Advance) -> str:
        every = max(1, self.fit.total // LOOKS)
        while self.fit.done < self.fit.total:
            if self.setting.stopped():
                self._save()  # first: a look off the schedule is no part of what goes on later
                self._look()
                return "interrupted"
            loss = self.fit.step()
            told()
            last = self.fit.done == self.fit.total
            if self.fit.done % every == 0 or last or not math.isfinite(loss):
                error = self._look()
                half = self.fit.done * 2 >= self.fit.total
                if not math.isfinite(error.total) or (
                    half and error.total > LOST * self.before.total
                ):
                    return "lost"
            if time.perf_counter() - self._saved > KEPT_SECONDS and not last:
                self._save()
        return "end"

    def _look(self) -> Score:
        """Judge the weights as they are, and keep them where they are the best."""
        error = self.judge()
        if error < self.best:
            self.best, self.weights = error, weights_of(self.small)
        return error

    def _save(self) -> None:
        self._saved = time.perf_counter()
        held = {"fit": self.fit.state(), "best": tuple(self.best), "weights": self.weights}
        with suppress(UsageError):  # a checkpoint that cannot be kept costs time, not the run
            self._resumable = self.store.write({**self.known, **held}) or self._resumable
