"""`spa tune`: gradients for a pruned model, with its original for a teacher."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback

TIME = declare.option(
    "Keeping accuracy",
    "--time",
    metavar="TIME",
    default="5m",
    show_default=True,
    help="How long, such as 90s, 5m or 1h.",
)
STEPS = declare.option(
    "Keeping accuracy",
    "--steps",
    type=click.IntRange(min=1),
    metavar="INT",
    help="So many steps in place of a time; with one seed they give the same bits.",
)
OUTPUT = "Default: SMALL's stem + .tuned.onnx; - is stdout."


@command(
    "tune",
    (TIME, STEPS),
    declare.RESUME,
    declare.recipe("Inputs", "Model", "Checks", without=("verify", "require_proof")),
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("dense", metavar="DENSE")
@click.argument("small", metavar="SMALL")
def tune(dense: str, small: str, **options: Any) -> Task:
    """Teach a pruned model by its original: gradients, no labels needed.

    DENSE is the original and SMALL its pruned version; one of them may be - for stdin.  The graph
    of SMALL stays, its weights change; the result is never farther from DENSE on held-back inputs.
    Ctrl-C delivers the best so far.  Needs PyTorch: pip install "onnx-spa[torch]".

    Example: spa tune model.onnx model.spa.onnx --calib inputs.npz --time 10m
    """
    output = files.output_name(small, options["output"], ".tuned.onnx")
    files.check(options, dense, small, output=output)
    to_stdout = output == files.STREAM

    def work(callback: Callback) -> Answer:
        if dense == small == files.STREAM:
            raise UsageError("only one of the two models can come from standard input")
        declare.contradict("time", "steps")
        steps, force = options["steps"], options["force"]
        budget = options["time"] if steps is None else f"{steps}steps"
        asked = {name: value for name, value in options.items() if name != "steps"}
        recipe = declare.recipe_of({**asked, "tune": budget})
        files.check_output(output, force=force)
        from spa import pipeline

        models = files.model_from(dense), files.model_from(small)
        target = None if to_stdout else output
        asked = {"resume": options["resume"], "output": target, "force": force}
        return files.answer(pipeline.tune(*models, recipe, callback, **asked), to_stdout=to_stdout)

    return Task(work, source=dense, stdout_taken=to_stdout)
