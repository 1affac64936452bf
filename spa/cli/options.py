"""The options, each declared once; defaults come from Recipe, so that shell and API agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from spa.cli import values
from spa.cli.named import Named
from spa.cli.sections import (
    Decorator,
    SectionCommand,
    SectionOption,
    option,
    options,
    without,
)
from spa.errors import UsageError
from spa.recipe import CHOICES, Recipe
from spa.registry import NAMED

__all__ = ["SectionCommand", "SectionOption", "option", "options", "without"]

DEFAULT = Recipe()
VARIABLES = "Every option can be set by an environment variable: {name}_SEED=1 for --seed 1."


def choice(section: str, name: str, words: str, *more: str) -> Decorator:
    """Declare an option whose choices and default Recipe knows."""
    field = name.lstrip("-").replace("-", "_")
    return option(
        section,
        *more,
        name,
        type=Named(NAMED[field]) if field in NAMED else click.Choice(CHOICES[field]),
        default=getattr(DEFAULT, field),
        show_default=True,
        help=words,
    )


def threads(section: str) -> Decorator:
    """--threads, in the section of a command that fits it."""
    return option(
        section,
        "--threads",
        type=click.IntRange(min=1),
        help="Threads that latency is measured with.  Default: onnxruntime's choice.",
    )


HOW_MUCH = (
    option("How much", "-r", "--ratio", type=float, help="Share to remove, 0 < RATIO < 1."),
    choice("How much", "--of", "What the ratio is a ratio of"),
    choice("How much", "--scope", "One budget for the model, or the same share in every group."),
    choice(
        "How much",
        "--allocation",
        "How one budget is shared out",
    ),
    option(
        "How much",
        "--steps",
        type=int,
        default=DEFAULT.steps,
        show_default=True,
        help="Rounds of cutting a little, refitting and scoring again.",
    ),
    option(
        "How much",
        "--layer-ratio",
        type=values.LAYER_RATIO,
        metavar="GLOB=FLOAT",
        multiple=True,
        callback=values.unique,
        help="Share for the layers a glob names; repeatable.",
    ),
    option(
        "How much",
        "--max-layer-ratio",
        type=float,
        default=DEFAULT.max_layer_ratio,
        show_default=True,
        help="No layer loses more than this share.",
    ),
    option(
        "How much",
        "--round-to",
        type=values.round_to,
        metavar="INT|auto",
        default=DEFAULT.round_to,
        show_default=True,
        help="Channels kept are a multiple of this.",
    ),
    option(
        "How much",
        "--min-channels",
        type=int,
        default=DEFAULT.min_channels,
        show_default=True,
        help="No layer keeps fewer channels.",
    ),
    threads("How much"),
)

SCORING = (
    choice("By what", "--scorer", "How channels are judged", "-s"),
    option(
        "By what",
        "--saliency",
        type=click.Path(),
        metavar="FILE",
        help="One number per weight, in place of a scorer.",
    ),
    choice("By what", "--aggregate", "How a channel's weights become one number."),
    choice("By what", "--normalize", "How groups are made comparable."),
)

FITTING = (
    option(
        "Keeping accuracy",
        "--reconstruct/--no-reconstruct",
        default=None,
        help="Refit what stays by least squares; --no-reconstruct cuts only.  Default: with a "
        "scorer that measures.",
    ),
    choice(
        "Keeping accuracy",
        "--repair",
        "What is refitted",
    ),
    option(
        "Keeping accuracy",
        "--sequential/--parallel",
        default=DEFAULT.sequential,
        show_default=True,
        help="Fit a layer on what the pruned layers before it give, or on the original's.",
    ),
    option(
        "Keeping accuracy",
        "--rotate/--no-rotate",
        default=DEFAULT.rotate,
        show_default=True,
        help="Mix channels between linear maps first, so that few carry most.",
    ),
    option(
        "Keeping accuracy",
        "--batch-norm/--no-batch-norm",
        default=DEFAULT.batch_norm,
        show_default=True,
        help="Measure with BatchNorm on the statistics of the inputs, folded or not.",
    ),
    option(
        "Keeping accuracy",
        "--memory",
        type=values.memory,
        metavar="SIZE",
        help="What the run may hold, such as 4G: half of it is for measuring, with fewer inputs "
        "where it is little; a run that holds more ends (not on systems that do not tell).",
    ),
    option(
        "Keeping accuracy",
        "--samples",
        type=click.IntRange(min=1),
        help="How many inputs to fit on.  Default: by the model's size.",
    ),
)

INPUTS = (
    option(
        "Inputs",
        "--calib",
        type=click.Path(),
        metavar="PATH",
        help=".npz, .npy or a folder of images; without it inputs are synthetic.",
    ),
    choice("Inputs", "--probe", "Kind of synthetic inputs; auto: what suits the model."),
    option(
        "Inputs",
        "--input-range",
        type=values.numbers("0,255"),
        metavar="LO,HI",
        help="Values of a pixel, before --mean and --std.  Default: what the model shows.",
    ),
    option(
        "Inputs",
        "--mean",
        type=values.numbers("0.485,0.456,0.406"),
        metavar="A,B,C",
        help="Subtracted from pixels; one number, or one per channel.",
    ),
    option(
        "Inputs",
        "--std",
        type=values.numbers("0.229,0.224,0.225"),
        metavar="A,B,C",
        help="Divides pixels; one number, or one per channel.",
    ),
)

WHERE = (
    option(
        "Where",
        "--ignore",
        metavar="GLOB",
        multiple=True,
        help="Leave these nodes, initializers or groups alone; repeatable.",
    ),
    option(
        "Where",
        "--only",
        metavar="GLOB",
        multiple=True,
        help="Cut nothing but these; repeatable.",
    ),
    choice("Where", "--heads", "Each keeps channels of its own, all the same, or heads go whole."),
    option(
        "Where",
        "--strict",
        is_flag=True,
        help="An operator frozen because it is unknown is an error.",
    ),
)

MODEL = (
    option(
        "Model",
        "--input-shape",
        type=values.INPUT_SHAPE,
        metavar="NAME:1,3,224,224",
        multiple=True,
        callback=values.unique,
        help="Sizes for an input with symbolic dimensions; repeatable.",
    ),
    option(
        "Model", "--seed", type=int, default=DEFAULT.seed, show_default=True, help="Random seed."
    ),
    choice("Model", "--device", "Where models run."),
)

VERIFY = (choice("Checks", "--verify", "How far the result is checked."),)

GATES = (
    option("Checks", "--min-reduction", type=float, help="Fail unless this share is gone."),
    option("Checks", "--max-drift", type=float, help="Fail if an output drifts more (NRMSE)."),
    option(
        "Checks",
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="Fail if fewer labels (top-1 classes, integer outputs) stay the same.",
    ),
    option("Checks", "--min-speedup", type=float, help="Fail unless this many times faster."),
    option(
        "Checks",
        "--budget-bytes",
        type=values.memory,
        metavar="SIZE",
        help="Fail if the file, external data included, is larger, such as 4M.",
    ),
    option(
        "Checks",
        "--check",
        metavar="COMMAND",
        help="Your own judge: 'python eval.py {model}', whose last number is the score (higher is "
        "better), or module:function.",
    ),
    option("Checks", "--max-drop", type=float, help="Fail if the score falls by more than this."),
    option("Checks", "--min-score", type=float, help="Fail if the score is below this."),
    option(
        "Checks",
        "--require-proof",
        is_flag=True,
        help="Fail unless the cut is proved in full: numbers compared, nothing left out.",
    ),
)

REPORT = (
    option(
        "Output",
        "--report",
        type=click.Path(),
        metavar="FILE.(json|html|md|xml)",
        multiple=True,
        help="Write a report, also on failure; repeatable.",
    ),
)

FORCE = (option("Output", "--force", is_flag=True, help="Replace an existing output."),)

SHELL = (
    option("Output", "--json", is_flag=True, help="Report on stdout, people's text on stderr."),
    option(
        "Output",
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="Give up after so long.  Default: only where one run of a model takes more than 30 s "
        "and its size does not explain that.",
    ),
    option("Output", "-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    option("Output", "-v", "--verbose", count=True, help="Print notes, durations, tracebacks."),
    option("Output", "--no-color", is_flag=True, help="Print without colours."),
)


def output_option(words: str) -> tuple[Decorator]:
    """Declare -o with what it holds."""
    return (option("Output", "-o", "--output", metavar="OUTPUT", help=words),)


def recipe_from(chosen: Mapping[str, Any], **fixed: Any) -> Recipe:
    """Build the checked recipe from a command's options; what is not given keeps its default."""
    known = {field.name for field in fields(Recipe)}
    given = {name: value for name, value in chosen.items() if name in known and value is not None}
    _settle(given, "reconstruct", "repair")
    return Recipe(**{**given, **fixed}).validate()


def _settle(given: dict[str, Any], *names: str) -> None:
    """Of options that say the same thing, those given by hand beat those of the environment."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source if context else lambda name: None
    by_hand = [name for name in names if source(name) is ParameterSource.COMMANDLINE]
    for name in names:
        if by_hand and name not in by_hand:
            given.pop(name, None)


def contradict(first: str, second: str) -> None:
    """Refuse two options given together by hand; one of them from the environment just loses."""
    context = click.get_current_context()
    names = (first, second)
    if all(context.get_parameter_source(n) is ParameterSource.COMMANDLINE for n in names):
        raise UsageError(f"--{first} and --{second} contradict each other; give one of them")
