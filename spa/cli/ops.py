"""`spa ops`: which operators spa understands."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import click

from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.events import Callback

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

    def work(callback: Callback) -> Answer:
        from spa import rules

        named = [f for f in rules.catalogue() if fnmatchcase(f["op"].lower(), glob.lower())]
        return Answer([fact for fact in named if fact["status"] in wanted])

    return Task(work, "ops:screen")
