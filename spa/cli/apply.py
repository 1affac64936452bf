"""`spa apply`: cut what a plan says."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.prune import OUTPUT
from spa.cli.shell import Answer, Task, command
from spa.events import Callback


@command(
    "apply",
    declare.recipe("Keeping accuracy", "Inputs", "Model", "Checks", without=("labels",)),
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
@click.argument("plan", metavar="PLAN")
def apply(source: str, plan: str, **options: Any) -> Task:
    """Apply a plan to a model or to a fresh export of it.

    INPUT is an ONNX file, or - for stdin; PLAN is a file that `spa plan` wrote.

    Example: spa apply finetuned.onnx plan.json
    """
    output = files.output_name(source, options["output"], ".spa.onnx")
    files.check(options, source, output=output, plan=plan)
    to_stdout = output == files.STREAM

    def work(callback: Callback) -> Answer:
        recipe, force = declare.recipe_of(options), options["force"]
        files.check_output(output, force=force)
        from spa import pipeline

        target, model = None if to_stdout else output, files.model_from(source)
        outcome = pipeline.apply(model, plan, recipe, callback, output=target, force=force)
        return files.answer(outcome, to_stdout=to_stdout)

    return Task(work, source=source, stdout_taken=to_stdout)
