"""`spa plan`: score and allocate, change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, run, shell_of
from spa.errors import UsageError
from spa.events import Tell
from spa.reports.schema import Report

if TYPE_CHECKING:
    from rich.console import RenderableType

OUTPUT = "Default: INPUT's stem + .plan.json; - is stdout."


@click.command(
    "plan",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_PLAN"),
)
@click.argument("source", metavar="INPUT")
@declare.options(
    declare.HOW_MUCH,
    declare.SCORING,
    declare.FITTING,
    declare.INPUTS,
    declare.WHERE,
    declare.MODEL,
    declare.output_option(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.SHELL,
)
def command(source: str, **options: Any) -> int:
    """Score and allocate, write plan.json, change nothing.

    INPUT is an ONNX file, or - for stdin.  The plan names every initializer, axis and kept index;
    `spa apply` carries it out.

    Example: spa plan model.onnx --ratio 0.5 -o plan.json
    """
    output = files.output_name(source, options["output"], ".plan.json")
    files.check(options, source, output=output)
    shell = shell_of("plan", options, source=source, stdout=output == files.STREAM)
    written = () if shell.stdout_taken else (Path(output),)

    def show(report: Report) -> RenderableType:
        from spa.reports import console

        return console.summary(report, (*written, *shell.reports))

    return run(shell, lambda tell: _plan(source, output, options, tell), show)


def _plan(source: str, output: str, options: dict[str, Any], tell: Tell) -> Answer:
    if options["ratio"] is None:
        raise UsageError("nothing says how much is to go; give --ratio (0.5 removes half)")
    declare.contradict("scorer", "saliency")
    recipe = declare.recipe_from(options)
    files.check_output(output, force=options["force"])
    from spa import pipeline

    plan = pipeline.make_plan(files.model_from(source), recipe, tell)
    if output == files.STREAM:
        click.echo(plan.to_json(), nl=False)
    else:
        plan.save(output)
    return Answer(plan.report)
