"""`spa prune`: slim one model, validate, report."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback

OUTPUT = "Default: INPUT's stem + .spa.onnx; - is stdout."
DRY_RUN = declare.option("Output", "--dry-run", is_flag=True, help="Do it all, write no model.")
PLAN = declare.option(
    "How much",
    "--plan",
    type=click.Path(),
    metavar="FILE",
    help="Cut what this plan says, in place of --ratio.",
)


@command(
    "prune",
    declare.recipe(*declare.SECTIONS),
    (PLAN,),
    declare.RESUME,
    declare.CONFIG,
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    (DRY_RUN,),
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
def prune(source: str, **options: Any) -> Task:
    """Slim one model, validate it and report.

    INPUT is an ONNX file, or - for stdin.  It is never changed.  OUTPUT appears only when
    everything passed.

    Example: spa prune model.onnx --ratio 0.5 --report report.html

    Example: spa prune model.onnx --speedup 1.5 --threads 1

    Example: spa prune model.onnx --min-agreement 0.98 --calib photos/
    """
    name = files.output_name(source, options["output"], ".spa.onnx")
    output = None if options["dry_run"] else name
    files.check(options, source, output=output, plan=options["plan"])
    to_stdout = output == files.STREAM

    def work(callback: Callback) -> Answer:
        declare.contradict("ratio", "plan")
        declare.contradict("speedup", "plan")
        recipe = declare.recipe_of(options)
        said = declare.says_budget(options) or options["bypass"] or options["plan"]
        if not (said or recipe.searches):
            raise UsageError(
                "nothing says how much is to go; give --ratio (0.5 removes half), --speedup "
                "(1.5 is half as fast again) or --plan FILE; or --min-quality good or another "
                "gate on quality, for the fastest model that passes"
            )
        if output is not None:
            files.check_output(output, force=options["force"])
        from spa import pipeline
        from spa.plans import Plan

        asked = {n: options[n] for n in ("force", "dry_run", "plan", "resume")}
        if options["bypass"] and not (declare.says_budget(options) or options["plan"]):
            asked["plan"] = Plan({})  # a bypass alone
        target, model = None if to_stdout else output, files.model_from(source)
        outcome = pipeline.prune(model, recipe, callback, output=target, **asked)
        return files.answer(outcome, to_stdout=to_stdout)

    return Task(work, source=source, stdout_taken=to_stdout)
