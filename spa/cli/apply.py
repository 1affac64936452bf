"""`spa apply`: cut what a plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.prune import OUTPUT, answer
from spa.cli.shell import Answer, run, shell_of
from spa.events import Tell
from spa.reports.schema import Report

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command(
    "apply",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_APPLY"),
)
@click.argument("source", metavar="INPUT")
@click.argument("plan", metavar="PLAN")
@declare.options(
    declare.FITTING,
    declare.INPUTS,
    declare.MODEL,
    declare.VERIFY,
    (declare.threads("Checks"),),
    declare.GATES,
    declare.output_option(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.SHELL,
)
def command(source: str, plan: str, **options: Any) -> int:
    """Apply a plan to a model or to a fresh export of it.

    INPUT is an ONNX file, or - for stdin; PLAN is a file that `spa plan` wrote.

    Example: spa apply finetuned.onnx plan.json
    """
    output = files.output_name(source, options["output"], ".spa.onnx")
    files.check(options, source, output=output, plan=plan)
    shell = shell_of("apply", options, source=source, stdout=output == files.STREAM)

    def show(report: Report) -> RenderableType:
        from spa.reports import console

        return console.summary(report, shell.reports)

    return run(shell, lambda tell: _apply(source, plan, output, options, tell), show)


def _apply(source: str, plan: str, output: str, options: dict[str, Any], tell: Tell) -> Answer:
    recipe = declare.recipe_from(options)
    files.check_output(output, force=options["force"])
    from spa import pipeline

    to_stdout = output == files.STREAM
    target = None if to_stdout else output
    model = files.model_from(source)
    outcome = pipeline.apply(model, plan, recipe, tell, output=target, force=options["force"])
    return answer(outcome, to_stdout=to_stdout)
