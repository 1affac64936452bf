"""`spa prune`: slim one model, validate, report."""

from __future__ import annotations

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

OUTPUT = "Default: INPUT's stem + .spa.onnx; - is stdout."
DRY_RUN = declare.option("Output", "--dry-run", is_flag=True, help="Do it all, write no model.")
PLAN = declare.option(
    "How much",
    "--plan",
    type=click.Path(),
    metavar="FILE",
    help="Cut what this plan says, in place of --ratio.",
)


@click.command(
    "prune",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_PRUNE"),
)
@click.argument("source", metavar="INPUT")
@declare.options(
    declare.HOW_MUCH,
    (PLAN,),
    declare.SCORING,
    declare.FITTING,
    declare.INPUTS,
    declare.WHERE,
    declare.MODEL,
    declare.VERIFY,
    declare.GATES,
    declare.output_option(OUTPUT),
    declare.FORCE,
    (DRY_RUN,),
    declare.REPORT,
    declare.SHELL,
)
def command(source: str, **options: Any) -> int:
    """Slim one model, validate it and report.

    INPUT is an ONNX file, or - for stdin.  It is never changed.  OUTPUT appears only when
    everything passed.

    Example: spa prune model.onnx --ratio 0.5 --report report.html
    """
    output = files.output_name(source, options["output"], ".spa.onnx")
    stdout = output == files.STREAM and not options["dry_run"]
    written = None if options["dry_run"] else output
    files.check(options, source, output=written, plan=options["plan"])
    shell = shell_of("prune", options, source=source, stdout=stdout)

    def show(report: Report) -> RenderableType:
        from spa.reports import console

        return console.summary(report, shell.reports)

    return run(shell, lambda tell: _prune(source, output, options, tell), show)


def _prune(source: str, output: str, options: dict[str, Any], tell: Tell) -> Answer:
    if options["ratio"] is None and options["plan"] is None:
        raise UsageError(
            "nothing says how much is to go; give --ratio (0.5 removes half) or --plan FILE"
        )
    declare.contradict("ratio", "plan")
    declare.contradict("scorer", "saliency")
    recipe = declare.recipe_from(options)
    dry_run, force = options["dry_run"], options["force"]
    if not dry_run:
        files.check_output(output, force=force)
    from spa import pipeline

    outcome = pipeline.prune(
        files.model_from(source),
        recipe,
        tell,
        output=None if dry_run or output == files.STREAM else output,
        force=force,
        dry_run=dry_run,
        plan=options["plan"],
    )
    return answer(outcome, to_stdout=output == files.STREAM and not dry_run)


def answer(outcome: Any, *, to_stdout: bool) -> Answer:
    """Send a verified model to standard output if it goes there, and return the report."""
    report = outcome.report
    if to_stdout and outcome.exit_code == 0:
        sent = files.send(outcome)
        report = {**report, "output": {**(report["output"] or {}), **sent}}
    return Answer(report, outcome.exit_code)
