"""`spa ops`: which operators spa understands."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from spa.cli import options as declare
from spa.cli.shell import Answer, run, shell_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from spa.reports.ops import OpFacts

STATUSES = ("ruled", "lossy", "frozen")


@click.command(
    "ops",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_OPS"),
)
@click.argument("glob", required=False, default="*")
@declare.options(
    (
        declare.option(
            "Which",
            "--status",
            type=click.Choice(STATUSES),
            multiple=True,
            help="Only operators of this status; repeatable.",
        ),
    ),
    declare.SHELL,
)
def command(glob: str, **options: Any) -> int:
    """List the supported operators.

    GLOB picks operators by name, whatever the case: "*norm*".  An operator that is not listed
    freezes the channels it touches.

    Example: spa ops "conv*"
    """
    return run(shell_of("ops", options), lambda tell: _ops(glob, options), _show)


def _ops(glob: str, options: dict[str, Any]) -> Answer:
    from spa import rules

    wanted = options["status"] or STATUSES
    return Answer(
        [
            fact
            for fact in rules.catalogue()
            if fact["status"] in wanted and fnmatchcase(fact["op"].lower(), glob.lower())
        ]
    )


def _show(catalogue: Sequence[OpFacts]) -> RenderableType:
    from spa.reports import ops

    return ops.screen(catalogue)
