"""`spa verify`: compare two models, with gates for CI."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback

LEVEL = declare.option(
    "Comparing",
    "--level",
    type=click.Choice(["auto", "run", "equivalence"]),
    default="auto",
    show_default=True,
    help="equivalence compares with the masked original, by the plan that PRUNED carries.",
)


@command(
    "verify",
    (LEVEL,),
    declare.recipe("Inputs", "Model", "Checks", without=("verify", "memory", "samples", "labels")),
    declare.SET,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("original", metavar="ORIGINAL")
@click.argument("pruned", metavar="PRUNED")
def verify(original: str, pruned: str, **options: Any) -> Task:
    """Compare two models: loads, shapes, drift, latency; gates for CI.

    One of the two may be - for stdin.

    Example: spa verify model.onnx model.spa.onnx --max-drift 0.1 --report ci.xml
    """
    files.check(options, original, pruned)

    def work(callback: Callback) -> Answer:
        if original == pruned == files.STREAM:
            raise UsageError("only one of the two models can come from standard input")
        recipe = declare.recipe_of(options)
        from spa import pipeline

        models = files.model_from(original), files.model_from(pruned)
        report = pipeline.verify(*models, recipe, callback, level=options["level"]).report
        return Answer(report, report["exit_code"])

    return Task(work, "console:verified", original)
