"""`spa probe`: inputs for a model that nobody has data for, in a file for other tools."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback

OUTPUT = "Default: INPUT's stem + .inputs.npz."
PLAIN = declare.option(
    "Inputs", "--plain", is_flag=True, help="As they are made up, not moved by gradients."
)
MINUTES = declare.option(
    "Inputs",
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Time for moving inputs; what is ready by then is written.",
)
SAMPLES = declare.option(
    "Inputs",
    "--samples",
    type=click.IntRange(min=1),
    help="How many inputs.  Default: by the model's size.",
)


@command(
    "probe",
    (SAMPLES, MINUTES, PLAIN),
    declare.recipe("Inputs", without=("calib", "samples", "invert")),
    declare.recipe("Model", without=("threads",)),
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
def probe(source: str, **options: Any) -> Task:
    """Write inputs for a model that nobody has data for, for other tools.

    INPUT is an ONNX file, or - for stdin.  OUTPUT is an .npz with one array per input, rows along
    its batch axis.  With PyTorch, inputs are moved by gradients until they agree with what the
    file tells of its training (Ctrl-C ends that, and what is ready is written).

    Example: spa probe model.onnx --samples 512 -o inputs.npz
    """
    output = files.output_name(source, options["output"], ".inputs.npz")
    files.check(options, source, output=output)

    def work(callback: Callback) -> Answer:
        recipe = declare.recipe_of({k: v for k, v in options.items() if k != "samples"})
        if output == files.STREAM:
            raise UsageError("inputs are written to a file; give -o FILE")
        from spa import pipeline

        made = pipeline.probe(
            files.model_from(source),
            recipe,
            callback,
            output=output,
            samples=options["samples"],
            minutes=None if options["plain"] else options["minutes"],
            force=options["force"],
        )
        return Answer(made)

    return Task(work, "probe:screen", source)
