"""`spa doctor`: versions, providers, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from spa.cli import options as declare
from spa.cli.shell import Answer, run, shell_of

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command(
    "doctor",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_DOCTOR"),
)
@declare.options(declare.SHELL)
def command(**options: Any) -> int:
    """Versions, providers, limits; paste this into a bug report."""
    return run(shell_of("doctor", options), lambda tell: _doctor(), _show)


def _doctor() -> Answer:
    from spa import pipeline

    return Answer(pipeline.doctor())


def _show(facts: Mapping[str, object]) -> RenderableType:
    from spa.reports import doctor

    return doctor.screen(facts)
