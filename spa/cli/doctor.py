"""`spa doctor`: versions, providers, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.events import Callback

if TYPE_CHECKING:
    from rich.console import RenderableType


@command("doctor", declare.TIMEOUT)
def doctor(**options: Any) -> Task:
    """Versions, providers, limits; paste this into a bug report."""
    return Task(_doctor, _show)


def _doctor(callback: Callback) -> Answer:
    from spa import pipeline

    return Answer(pipeline.doctor())


def _show(facts: Mapping[str, object], written: Sequence[Path]) -> RenderableType:
    from spa.reports import doctor

    return doctor.screen(facts)
