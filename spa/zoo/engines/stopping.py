"""What engines of several machines share: the task, and a file that ends it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spa.zoo.model import Job, Layout
from spa.zoo.rows import failed
from spa.zoo.work import Answer, Stop, work

LOOK_SECONDS = 0.5


def stoppable(job: Job) -> Answer | None:
    """`work`, ended by the appearance of the job's stop file; None then, as nobody asks."""
    looked = 0.0
    stop = False

    def stopped() -> bool:
        nonlocal looked, stop
        if not stop and job.stop is not None and time.monotonic() - looked > LOOK_SECONDS:
            looked, stop = time.monotonic(), os.path.exists(job.stop)
        return stop

    try:
        return None if stopped() else work(job, stopped)
    except Stop:
        return None


class StopFile:
    """A file in the destination, which every worker sees, whose appearance ends one run's jobs."""

    def __init__(self) -> None:
        """Nothing is written before somebody wants to stop."""
        self._name = f"stop-{secrets.token_hex(8)}"
        self._path: Path | None = None

    def beside(self, jobs: Sequence[Job]) -> str:
        """Where the file of these jobs would be."""
        self._path = Layout(Path(jobs[0].dest)).inside / self._name
        return str(self._path)

    def raise_it(self) -> None:
        """Make the file appear; without jobs there is nothing to stop."""
        if self._path is not None:
            with suppress(OSError):
                self._path.touch()

    def lost(self, job: Job, cluster: str) -> Answer:
        """What is said of a model that takes its workers down with it."""
        words = (
            f"{cluster} gave up on it, as one worker after the other was lost; look at their logs"
        )
        return Answer(failed(job, 1, words, status="crashed"), reused=False)
