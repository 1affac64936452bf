"""`spa bench`: latency and memory, side by side in one run."""

from __future__ import annotations

from typing import Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback

MEASURING = (
    declare.option(
        "Measuring",
        "--runs",
        type=click.IntRange(min=1),
        help="Timed runs of each model.  Default: until the ratios are settled, about a second.",
    ),
    declare.option(
        "Measuring",
        "--warmup",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        help="Runs before the timed ones, at least (and for 50 ms; 0: none).",
    ),
)


@command("bench", MEASURING, declare.recipe("Model"), declare.SET, declare.TIMEOUT)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
def bench(models: tuple[str, ...], **options: Any) -> Task:
    """Latency and memory in onnxruntime, side by side in one run.

    The first MODEL is what the others are compared with; one may be - for stdin.

    Example: spa bench model.onnx model.spa.onnx --threads 1
    """

    def work(callback: Callback) -> Answer:
        if models.count(files.STREAM) > 1:
            raise UsageError("only one of the models can come from standard input")
        recipe = declare.recipe_of(options)
        from spa import pipeline

        given = [files.model_from(model) for model in models]
        asked = {name: options[name] for name in ("runs", "warmup", "threads")}
        return Answer(pipeline.bench(given, recipe, callback, **asked).report)

    return Task(work, "bench:screen", models[0])
