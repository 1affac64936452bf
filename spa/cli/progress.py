"""Events on the screen: a live bar per stage for a person, lines with -v, silence for a machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spa.events import Done, Event, Note, Started, Step, Tell, quiet
from spa.reports import wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@contextmanager
def progress(console: Console | None, *, verbose: bool) -> Iterator[Tell]:
    """Yield the callback that shows what happens; without a console it shows nothing."""
    if console is not None and console.is_terminal and not in_ci():
        with _bars(console) as live:
            yield Bars(live, verbose=verbose)
    elif console is not None and verbose:
        yield Lines(console)
    else:
        yield quiet


def wanted(*, verbose: bool) -> bool:
    """Whether anybody would see progress; asked first, because drawing it costs an import."""
    return verbose or (sys.stderr.isatty() and not in_ci())


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
        console=console,
        transient=True,
    )


class Bars:
    """One bar per stage; a stage that does not count its steps pulses."""

    def __init__(self, live: Progress, *, verbose: bool) -> None:
        """Draw into a running Progress."""
        self._live = live
        self._tasks: dict[str, TaskID] = {}
        self._lines = Lines(live.console) if verbose else quiet

    def __call__(self, event: Event) -> None:
        """Move the bars."""
        self._lines(event)
        if isinstance(event, Started):
            # A stage may be gone through again; it keeps its one bar.
            self._live.reset(self._task(event.stage), total=event.total)
        elif isinstance(event, Step):
            self._live.advance(self._task(event.stage), event.advance)
        elif isinstance(event, Done):
            self._fill(self._task(event.stage))

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._live.add_task(stage, total=None)
        return self._tasks[stage]

    def _fill(self, task: TaskID) -> None:
        shown = next(each for each in self._live.tasks if each.id == task)
        total = shown.total or max(shown.completed, 1)
        self._live.update(task, total=total, completed=total)


class Lines:
    """One plain line per note and per finished stage."""

    def __init__(self, console: Console) -> None:
        """Print to this console."""
        self._console = console

    def __call__(self, event: Event) -> None:
        """Print what is worth a line."""
        if isinstance(event, Done):
            self._print(f"{event.stage:<12} {wording.seconds(event.seconds)}")
        elif isinstance(event, Note):
            self._print(f"{'warning' if event.warning else 'note'}: {event.message}")

    def _print(self, words: str) -> None:
        line = "".join(c if c.isprintable() else " " for c in words)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
