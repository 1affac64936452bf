"""`spa doctor`: versions, providers, limits."""

from __future__ import annotations

from typing import Any

from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.events import Callback


@command("doctor", declare.TIMEOUT)
def doctor(**options: Any) -> Task:
    """Versions, providers, limits; paste this into a bug report."""

    def work(callback: Callback) -> Answer:
        from spa import pipeline

        return Answer(pipeline.doctor())

    return Task(work, "doctor:screen")
