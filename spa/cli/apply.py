"""`spa apply`: cut what a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from spa.cli import files
from spa.cli import options as declare
from spa.cli.prune import OUTPUT
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback
from spa.recipe import OPTIONS

WEIGHTS = ".weights"  # of Keras, before the suffix
CHECKPOINT = (
    declare.option(
        "Checkpoints",
        "--export",
        type=click.Path(),
        metavar="MODEL",
        help="The ONNX file that INPUT was exported to, to find what exporters renamed, "
        "transposed or folded.",
    ),
    declare.option(
        "Checkpoints",
        "--pruned",
        type=click.Path(),
        metavar="MODEL",
        help="The pruned model, whose refitted numbers are taken; PLAN may be it, where it "
        "carries its plan.",
    ),
)


@command(
    "apply",
    declare.recipe("Keeping accuracy", "Inputs", "Model", "Checks", without=("labels",)),
    declare.RESUME,
    declare.SET,
    CHECKPOINT,
    declare.output(OUTPUT),
    declare.FORCE,
    declare.REPORT,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
@click.argument("plan", metavar="PLAN")
def apply(source: str, plan: str, **options: Any) -> Task:
    """Apply a plan to a model, to a fresh export of it, or to a checkpoint.

    INPUT is an ONNX file, or - for stdin, or a checkpoint of any framework (.safetensors, .pt,
    .npz, .h5); PLAN is a file that `spa plan` wrote, or for a checkpoint a pruned model.

    Example: spa apply finetuned.onnx plan.json
    """
    from spa.checkpoints.files import is_checkpoint

    if is_checkpoint(source):
        return _weights(source, plan, options)
    for name in ("export", "pruned"):
        if options[name] is not None:
            raise UsageError(f"--{name} goes with a checkpoint, and {source} is none")
    output = files.output_name(source, options["output"], ".spa.onnx")
    files.check(options, source, output=output, plan=plan)
    return Task(
        lambda callback: _apply(source, plan, output, options, callback),
        source=source,
        stdout_taken=output == files.STREAM,
    )


def _apply(
    source: str, plan: str, output: str, options: dict[str, Any], callback: Callback
) -> Answer:
    recipe = declare.recipe_of(options)
    files.check_output(output, force=options["force"])
    from spa import pipeline

    to_stdout = output == files.STREAM
    target = None if to_stdout else output
    model, asked = files.model_from(source), {name: options[name] for name in ("force", "resume")}
    outcome = pipeline.apply(model, plan, recipe, callback, output=target, **asked)
    return files.answer(outcome, to_stdout=to_stdout)


def _weights(source: str, plan: str, options: dict[str, Any]) -> Task:
    """Cut a checkpoint; nothing of it is run, so options of models mean nothing."""
    context = click.get_current_context()
    for name in (n for n in options if n in OPTIONS or n == "resume"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is for models, and {source} is none")
    for report in options["report"]:
        if Path(report).suffix != ".json":
            raise UsageError(f"what is said of a checkpoint goes to a .json file, not to {report}")
    output = options["output"] or _beside(Path(source))
    reads = {"the plan": plan, "the exported model": options["export"]}
    from spa.graph.distinct import check_files

    check_files([source], reads, (output, *options["report"]))
    return Task(
        lambda callback: _cut(source, plan, output, options), show="weights:screen", source=source
    )


def _beside(source: Path) -> str:
    """A name with `.spa` in it; Keras wants its own ending."""
    stem = source.stem.removesuffix(WEIGHTS)
    ending = source.name.removeprefix(stem)
    return str(source.with_name(f"{stem}.spa{ending}"))


def _cut(source: str, plan: str, output: str, options: Mapping[str, Any]) -> Answer:
    from spa.checkpoints.apply import apply as cut

    places = {name: options[name] for name in ("export", "pruned")}
    return Answer(cut(source, plan, output, **places, force=options["force"]))
