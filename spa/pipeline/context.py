"""What accompanies a run: its clock, its progress, its notes, and the values it has reached."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from spa.events import Advance, Callback, Done, Note, Started, counted_in, quiet, unheard
from spa.reports.wording import printable

T = TypeVar("T")


class Context:
    """One per run; every stage is given it and none asks it for data.

    Attributes:
        command: what runs.
        callback: is called with every event of progress.
        timings: seconds by stage.
        warnings: what a person should know.
        notes: decisions that spa took by itself.
        reached: what the stages made so far, in order; the report is built from it.
    """

    def __init__(self, command: str, callback: Callback = quiet) -> None:
        self.command, self.callback = command, callback
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.reached: list[object] = []
        self._began = time.perf_counter()
        self._stages: list[str] = []  # those that run, the innermost last

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self._began

    def reach(self, value: T) -> T:
        """Keep what a stage made for the report, and hand it on."""
        self.reached.append(value)
        return value

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time a stage and announce its beginning and end."""
        self.callback(Started(name, total))
        self._stages.append(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stages.pop()
            spent = time.perf_counter() - began
            self.timings[name] = self.timings.get(name, 0.0) + spent
            self.callback(Done(name, spent))

    def counted(self, total: int | None, unit: str, seconds: float = math.inf) -> Advance:
        """Count steps of the stage that runs, see `spa.events.Counted`."""
        if not self._stages:
            return unheard
        return counted_in(self._stages[-1], self.callback)(total, unit, seconds)

    def warn(self, message: str) -> None:
        """Say something a person should know."""
        message = printable(message)
        self.warnings.append(message)
        self.callback(Note(message, warning=True))

    def note(self, message: str) -> None:
        """Keep a decision spa took by itself, once."""
        message = printable(message)
        if message not in self.notes:
            self.notes.append(message)
            self.callback(Note(message))

    def branch(self, command: str) -> Context:
        """One for a part of the work with a report of its own, that starts from what is reached."""
        part = Context(command, self.callback)
        part.reached, part.warnings, part.notes = [*self.reached], [*self.warnings], [*self.notes]
        return part

    def adopt(self, part: Context) -> None:
        """Go on where a part of the work has ended."""
        self.reached = [*part.reached]
        self.warnings = [*dict.fromkeys((*part.warnings, *self.warnings))]
        self.notes = [*dict.fromkeys((*part.notes, *self.notes))]
