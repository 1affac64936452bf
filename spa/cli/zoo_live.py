"""A zoo while it runs: a live table for a person, a line per finished model for a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.live import Live

from spa.cli.progress import in_ci
from spa.reports import wording, zoo_screen
from spa.reports.zoo import Row
from spa.zoo.model import Begun, Ended, Happening, Listen

REFRESH_SECONDS = 0.25


@contextmanager
def listening(*, quiet: bool, plain: bool) -> Iterator[Listen]:
    """A live table for a person, a line per finished model for a log, or nothing."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if quiet:
        yield lambda happening: None
    elif console.is_terminal and not in_ci() and not plain:
        with _Live(console) as live:
            yield live
    else:
        yield _line


def _line(happening: Happening) -> None:
    if isinstance(happening, Ended):
        row, done, total = happening.row, happening.done, happening.total
        words = zoo_screen.sentence(row, done, total, reused=happening.reused)
        click.echo(wording.printable(words), err=True)


class _Live:
    """The table of what happens now; workers tell it from threads of their own."""

    def __init__(self, console: Console) -> None:
        self._guard = threading.Lock()
        self._running: dict[str, float] = {}
        self._last: list[Row] = []
        self._counts: dict[str, int] = {}
        self._total = 0
        self._live = Live(
            console=console,
            get_renderable=self._shown,
            refresh_per_second=1 / REFRESH_SECONDS,
            transient=True,
        )

    def __enter__(self) -> _Live:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, happening: Happening) -> None:
        with self._guard:
            if isinstance(happening, Begun):
                self._running[happening.name] = time.monotonic()
                return
            row, self._total = happening.row, happening.total
            self._running.pop(row["name"], None)
            status = row["status"]
            self._counts[status] = self._counts.get(status, 0) + 1
            self._last = [*self._last[-20:], row]

    def _shown(self) -> RenderableType:
        with self._guard:
            now = time.monotonic()
            running = {name: now - begun for name, begun in self._running.items()}
            return zoo_screen.live(running, list(self._last), dict(self._counts), self._total)
