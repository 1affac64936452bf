"""`spa inspect`: what can be cut, what is frozen and why."""

from __future__ import annotations

from typing import Any, cast

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.events import Callback
from spa.reports.schema import Report

FILTERS = (
    declare.option("Output", "--groups", is_flag=True, help="Only the groups that can be cut."),
    declare.option("Output", "--frozen", is_flag=True, help="Only what is frozen, and why."),
    declare.option(
        "Output", "--branches", is_flag=True, help="Only the branches that can be bypassed."
    ),
)


@command(
    "inspect",
    declare.recipe("Where", "Model", without=("threads",)),
    declare.SET,
    FILTERS,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
def inspect(source: str, **options: Any) -> Task:
    """Show coupled-channel groups and branches: what can be cut, what is frozen and why.

    INPUT is an ONNX file, or - for stdin.  Nothing is changed and nothing is run.

    Example: spa inspect model.onnx --frozen
    """
    files.check(options, source)

    def work(callback: Callback) -> Answer:
        recipe = declare.recipe_of(options)
        from spa import pipeline
        from spa.reports import console

        report = cast(Report, pipeline.inspect(files.model_from(source), recipe, callback).report)
        asked = {name: options[name] for name in ("groups", "frozen", "branches")}
        return Answer(console.select(report, **asked))

    return Task(work, "console:inspected", source)
