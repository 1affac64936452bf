"""`spa bench`: latency and memory, side by side in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spa.cli import files
from spa.cli import options as declare
from spa.cli.shell import Answer, run, shell_of
from spa.errors import UsageError
from spa.events import Tell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from spa.reports.bench import Bench

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
    declare.option(
        "Measuring",
        "--threads",
        type=click.IntRange(min=1),
        help="Threads of one run.  Default: onnxruntime's choice.",
    ),
)


@click.command(
    "bench",
    cls=declare.SectionCommand,
    epilog=declare.VARIABLES.format(name="SPA_BENCH"),
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@declare.options(MEASURING, declare.MODEL, declare.SHELL)
def command(models: tuple[str, ...], **options: Any) -> int:
    """Latency and memory in onnxruntime, side by side in one run.

    The first MODEL is what the others are compared with; one may be - for stdin.

    Example: spa bench model.onnx model.spa.onnx --threads 1
    """
    shell = shell_of("bench", options, source=models[0])
    return run(shell, lambda tell: _bench(models, options, tell), _show)


def _bench(models: tuple[str, ...], options: dict[str, Any], tell: Tell) -> Answer:
    if models.count(files.STREAM) > 1:
        raise UsageError("only one of the models can come from standard input")
    recipe = declare.recipe_from(options)
    from spa import pipeline

    return Answer(
        pipeline.bench(
            [files.model_from(model) for model in models],
            recipe,
            tell,
            runs=options["runs"],
            warmup=options["warmup"],
            threads=options["threads"],
        )
    )


def _show(measured: Bench) -> RenderableType:
    from spa.reports import bench

    return bench.screen(measured)
