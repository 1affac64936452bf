"""`spa ops`: which operators spa understands."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from spa.reports.ops import OpFacts

STATUSES = ("ruled", "lossy", "frozen")
STATUS = declare.option(
    "Which",
    "--status",
    type=click.Choice(STATUSES),
    multiple=True,
    help="Only operators of this status; repeatable.",
)


@command("ops", (STATUS,), declare.TIMEOUT)
@click.argument("glob", required=False, default="*")
def ops(glob: str, **options: Any) -> Task:
    """List the supported operators.

    GLOB picks operators by name, whatever the case: "*norm*".  An operator that is not listed
    freezes the channels it touches.

    Example: spa ops "conv*"
    """
    wanted = options["status"] or STATUSES
    return Task(lambda callback: _ops(glob, wanted), _show)


def _ops(glob: str, wanted: Sequence[str]) -> Answer:
    from spa import rules

    return Answer(
        [
            fact
            for fact in rules.catalogue()
            if fact["status"] in wanted and fnmatchcase(fact["op"].lower(), glob.lower())
        ]
    )


def _show(catalogue: Sequence[OpFacts], written: Sequence[Path]) -> RenderableType:
    from spa.reports import ops

    return ops.screen(catalogue)
