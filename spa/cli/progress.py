"""Events on the screen: a live bar per stage for a person, a line now and then for a log."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spa.events import Callback, Done, Event, Note, Started, Step, quiet
from spa.reports import wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

EVERY_SECONDS = 5.0
"""Between two lines about how far a stage is."""

LEAST, LEAST_SECONDS = 0.02, 1.0
"""Share of the work, and time, from which on the rest is estimated."""


@contextmanager
def progress(console: Console | None, *, verbose: bool) -> Iterator[Callback]:
    """Yield the callback that shows what happens; without a console it shows nothing."""
    if console is not None and console.is_terminal and not in_ci():
        with _bars(console) as live:
            yield Bars(live, verbose=verbose)
    elif console is not None:
        yield Lines(console, verbose=verbose)
    else:
        yield quiet


def in_ci() -> bool:
    """Whether this is an automatic build, where a moving bar becomes a wall of text."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        console=console,
        transient=True,
    )


class Count:
    """One stage while it runs: what is done, how much of the work that is, and what is left."""

    def __init__(self, began: float) -> None:
        """It begins at this time."""
        self.began = self.since = began
        self.total: int | None = None
        self.end = math.inf
        self.unit, self.done, self.share = "steps", 0, 0.0
        self.counts = True  # whether the share is that of the steps which are counted

    def start(self, event: Started, now: float) -> None:
        """Count these steps from now on."""
        self.total, self.unit, self.done = event.total, event.unit, 0
        self.end = now + event.seconds
        if self.counts:  # shares that were told are of the whole stage, and go on
            self.since, self.share = now, 0.0

    def step(self, event: Step) -> None:
        """Some are done."""
        self.done += event.advance
        if self.total is not None and self.done > self.total:
            self.total = None
        if event.share is not None:
            self.share, self.counts = event.share, False
        elif self.total and self.counts:
            self.share = self.done / self.total

    def words(self, now: float) -> str:
        """Such as "12/57 sites, about 40 s left"; nothing where nothing is counted."""
        if self.total is None:
            return f"{self.done} {self.unit}" if self.done else ""
        counted = f"{self.done}/{self.total} {self.unit}"
        if not LEAST <= self.share < 1 or now - self.since < LEAST_SECONDS:
            return counted
        left = min((now - self.since) * (1 - self.share) / self.share, self.end - now)
        return f"{counted}, about {_rounded(left)} left"


def _rounded(seconds: float) -> str:
    """A time that is not known well."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Counts:
    """The stages that run at this moment."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` tells seconds."""
        self.clock = clock
        self.running: dict[str, Count] = {}

    def __call__(self, event: Event) -> Count | None:
        """Take an event in; the stage it is about, if that goes on."""
        if isinstance(event, Note):
            return None
        if isinstance(event, Done):
            self.running.pop(event.stage, None)
            return None
        count = self.running.setdefault(event.stage, Count(self.clock()))
        if isinstance(event, Started):
            count.start(event, self.clock())
        else:
            count.step(event)
        return count


class Bars:
    """One bar per stage; a stage that does not count its steps pulses."""

    def __init__(
        self, live: Progress, *, verbose: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Draw into a running Progress."""
        self._live = live
        self._tasks: dict[str, TaskID] = {}
        self._counts = Counts(clock)
        self._lines = Lines(live.console, verbose=True, every=math.inf) if verbose else quiet

    def __call__(self, event: Event) -> None:
        """Move the bars."""
        self._lines(event)
        if isinstance(event, Note):
            return
        begins = isinstance(event, Started) and event.stage not in self._counts.running
        count = self._counts(event)
        task = self._task(event.stage)
        if count is None:
            self._fill(task)
            return
        if begins:  # a stage may be gone through again; it keeps its one bar
            self._live.reset(task, words="")
        whole = None if count.total is None else 1.0
        done = count.share if whole else count.done
        words = count.words(self._counts.clock())
        self._live.update(task, total=whole, completed=done, words=words)

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._live.add_task(stage, total=None, words="")
        return self._tasks[stage]

    def _fill(self, task: TaskID) -> None:
        self._live.update(task, total=1.0, completed=1.0, words="")


class Lines:
    """Plain lines: how far a long stage is, every few seconds; with -v notes and stages, too."""

    def __init__(
        self,
        console: Console,
        *,
        verbose: bool,
        every: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Print to this console."""
        self._console, self._verbose = console, verbose
        self._every = EVERY_SECONDS if every is None else every
        self._counts = Counts(clock)
        self._last = clock()

    def __call__(self, event: Event) -> None:
        """Print what is worth a line."""
        count = self._counts(event)
        if self._verbose and isinstance(event, Done):
            self._print(f"{event.stage:<12} {wording.seconds(event.seconds)}")
        elif self._verbose and isinstance(event, Note):
            self._print(f"{'warning' if event.warning else 'note'}: {event.message}")
        elif isinstance(event, Step) and count is not None:
            self._say(event.stage, count)

    def _say(self, stage: str, count: Count) -> None:
        now = self._counts.clock()
        if now - max(self._last, count.began) >= self._every:
            self._last = now
            self._print(f"{stage} {count.words(now)}")

    def _print(self, words: str) -> None:
        line = "".join(c if c.isprintable() else " " for c in words)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
