"""`spa plan`: score and allocate, change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback
from spa.reports.schema import Kind

OUTPUT = "Default: INPUT's stem + .plan.json; - is stdout."


@command(
    "plan",
    declare.recipe(*(each for each in declare.SECTIONS if each != "Checks")),
    declare.CONFIG,
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
def plan(source: str, **options: Any) -> Task:
    """Score and allocate, write plan.json, change nothing.

    INPUT is an ONNX file, or - for stdin.  The plan names every initializer, axis and kept index;
    `spa apply` carries it out.

    Example: spa plan model.onnx --ratio 0.5 -o plan.json
    """
    output = files.output_name(source, options["output"], ".plan.json")
    files.check(options, source, output=output)
    to_stdout = output == files.STREAM

    def work(callback: Callback) -> Answer:
        if not (declare.says_budget(options) or options["bypass"]):
            raise UsageError(
                "nothing says how much is to go; give --ratio (0.5 removes half), or "
                "--speedup (1.5 is half as fast again)"
            )
        recipe = declare.recipe_of(options)
        files.check_output(output, force=options["force"])
        from spa import pipeline
        from spa.plans import Plan

        alone = None if declare.says_budget(options) else Plan({})
        made = pipeline.make_plan(files.model_from(source), recipe, callback, plan=alone).plan
        assert made is not None
        if to_stdout:
            click.echo(made.to_json(), nl=False)
        else:
            made.save(output)
        return Answer(made.report)

    written: dict[Path, Kind] = {} if to_stdout else {Path(output): "plan"}
    return Task(work, source=source, written=written, stdout_taken=to_stdout)
