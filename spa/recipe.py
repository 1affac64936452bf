"""What a person asks for, as one frozen value: every stage reads it, none changes it.

Each field is declared once: its type says what is allowed, its default is the only one, and its
option says what `--help` says and how it is written in a shell.  The fields carry the names of the
options, so shell, config files, environment variables and the Python API say the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from spa import allowed
from spa.allowed import Option, asked, chosen, fitted, spelt
from spa.contradictions import check_gates, check_together
from spa.registry import CRITERIA, NAMED

if TYPE_CHECKING:
    from numpy.typing import NDArray

Aggregate = Literal["sum", "mean", "max"]
Normalize = Literal["none", "mean", "max", "gaussian"]
Scope = Literal["global", "local"]
Verify = Literal["none", "run", "equivalence"]
Heads = Literal["free", "tied", "whole"]
Depth = Literal["auto", "on", "off"]
Width = Literal["on", "off"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "aggregate": get_args(Aggregate),
    "normalize": get_args(Normalize),
    "scope": get_args(Scope),
    "verify": get_args(Verify),
    "heads": get_args(Heads),
    "depth": get_args(Depth),
    "width": get_args(Width),
}
GATES = (
    "min_reduction", "max_drift", "min_agreement", "min_quality", "min_speedup", "budget_bytes",
    "max_drop", "min_score", "require_proof",
)  # fmt: skip
"""Fields that demand something of the result."""
QUALITY = ("max_drift", "min_agreement", "min_quality", "max_drop", "min_score")
"""Those that the more one prunes the fewer models pass: they can guide a search."""
HALF = 0.5  # is removed where nothing says how much


@dataclass(frozen=True, eq=False)
class Held:
    """Arrays by input; where `several` were given, each is a row, or rows, of all there are.

    `name` is the field of a recipe that holds them.
    """

    parts: tuple[Mapping[str, NDArray[Any]], ...]
    several: bool = False
    name: str = "calib"

    def __str__(self) -> str:
        """What a report calls them."""
        return f"the arrays of {self.name}"


@dataclass(frozen=True)
class Recipe:
    """How much to remove, what to judge by, where to stay away, and what must hold afterwards.

    A plan that is given takes the place of `ratio`, a saliency file that of `scorer`, and arrays
    or an iterable that of the path in `calib` (in Python).
    """

    ratio: allowed.Ratio | None = asked(
        None, "How much", "Share to remove, 0 < RATIO < 1.", "-r", shown=True
    )
    speedup: allowed.Faster | None = asked(
        None,
        "How much",
        "How many times as fast by the clock of this machine, such as 1.5, in place of a ratio: "
        "the fewest branches and channels that are enough go.",
        shown=True,
    )
    of: str = asked("macs", "How much", "What the ratio is a ratio of", shown=True)
    scorer: str = asked("auto", "By what", "How channels are judged", "-s", shown=True)
    saliency: allowed.Path | None = asked(
        None,
        "By what",
        "One number per weight, by initializer name, in place of a scorer.",
        form="FILE",
    )
    aggregate: Aggregate = asked("sum", "By what", "How a channel's weights become one number.")
    normalize: Normalize = asked("mean", "By what", "How groups are made comparable.")
    scope: Scope = asked(
        "global", "How much", "One budget for the model, or the same share in every group."
    )
    layer_ratio: Mapping[str, allowed.Share] = asked(
        {},
        "How much",
        "Share for the layers a glob names, in place of what the budget would give; repeatable.",
        form="GLOB=FLOAT",
        advice="0 keeps the layer whole",
    )
    max_layer_ratio: allowed.Most = asked(
        0.9,
        "How much",
        "No layer loses more than this share of its channels.",
        advice="1 leaves only --set min-channels as a limit",
    )
    round_to: allowed.Multiple = asked(
        "auto",
        "How much",
        "Channels kept are a multiple of this; auto: where it pays.",
        form="INT|auto",
        shown=True,
    )
    min_channels: allowed.Count = asked(1, "How much", "No layer keeps fewer channels.")
    ignore: allowed.Globs = asked(
        (),
        "Where",
        "Leave these nodes, initializers, groups or branches alone; repeatable.",
        form="GLOB",
        shown=True,
    )
    only: allowed.Globs = asked(
        (), "Where", "Cut nothing but these; repeatable.", form="GLOB", shown=True
    )
    bypass: allowed.Globs = asked(
        (),
        "How much",
        "Take out the branches (`spa inspect --branches`) that this names, with or without a "
        "ratio, which they count towards; repeatable.",
        form="GLOB",
        shown=True,
    )
    depth: Depth = asked(
        "auto",
        "How much",
        "Whether whole branches may go.  auto: where --speedup asks, or widths stay.",
        shown=True,
    )
    width: Width = asked("on", "How much", "Whether channels may go.")
    heads: Heads = asked(
        "free", "Where", "Each keeps channels of its own, all the same, or heads go whole."
    )
    input_shape: Mapping[str, allowed.Sizes] = asked(
        {},
        "Model",
        "Sizes for an input with symbolic dimensions; repeatable.",
        form="NAME:1,3,224,224",
        shown=True,
    )
    seed: allowed.Seed = asked(0, "Model", "Random seed.")
    device: str = asked("auto", "Model", "Where models run", shown=True)
    verify: Verify = asked("equivalence", "Checks", "How far the result is checked.")
    min_reduction: allowed.Share | None = asked(
        None, "Checks", "Fail unless this share is gone.", advice="0.4 demands that 40 % are gone"
    )
    max_drift: allowed.Drift | None = asked(
        None, "Checks", "Fail if an output drifts more (NRMSE).", shown=True
    )
    min_agreement: allowed.Agreement | None = asked(
        None,
        "Checks",
        "Fail if fewer labels (top-1 classes, integer outputs) stay the same.",
        shown=True,
        advice="0.98 demands that 98 % of the labels stay",
    )
    min_quality: allowed.Least | None = asked(
        None, "Checks", "Fail if outputs are worse, or unknown.", form="good|risky", shown=True
    )
    min_speedup: allowed.Factor | None = asked(
        None,
        "Checks",
        "Fail unless this many times faster.",
        shown=True,
        advice="1.2 demands 20 % more speed",
    )
    budget_bytes: allowed.Bytes | None = asked(
        None,
        "Checks",
        "Fail if the file, external data included, is larger, such as 4M.",
        form="SIZE",
        shown=True,
    )
    check: str | Callable[[str], Any] | None = asked(
        None,
        "Checks",
        "Your own judge: 'python eval.py {model}', whose last number is the score (higher is "
        "better), or module:function.",
        form="COMMAND",
        shown=True,
    )
    max_drop: allowed.Loss | None = asked(
        None, "Checks", "Fail if the score falls by more than this.", shown=True
    )
    min_score: allowed.Finite | None = asked(None, "Checks", "Fail if the score is below this.")
    require_proof: allowed.Switch = asked(
        False,
        "Checks",
        "Fail unless the cut is proved in full: numbers compared, nothing left out.",
    )
    strict: allowed.Switch = asked(
        False, "Where", "An operator frozen because it is unknown is an error."
    )
    reconstruct: allowed.Switch | None = asked(
        None,
        "Keeping accuracy",
        "Refit what stays by least squares, or cut only.  Default: with a scorer that measures.",
    )
    calib: str | Held | None = asked(
        None,
        "Inputs",
        ".npz, .npy or a folder of images; without it inputs are synthetic.",
        form="PATH",
        shown=True,
    )
    labels: str | Held | None = asked(
        None,
        "Inputs",
        ".npy or .npz with the classes of the inputs of --calib, for what learns by gradients.",
        form="FILE",
        shown=True,
    )
    probe: str = asked("auto", "Inputs", "Kind of synthetic inputs")
    invert: allowed.Moved = asked(
        "auto",
        "Inputs",
        "With PyTorch, move synthetic inputs by gradients until they agree with what the file "
        "tells, for so many seconds at most; auto: pictures, 300 s.",
        form="SECONDS|off",
    )
    samples: allowed.Count | None = asked(
        None, "Inputs", "How many inputs to fit on.  Default: by the model's size."
    )
    allocation: str = asked("curves", "How much", "How one budget is shared out")
    repair: str = asked("auto", "Keeping accuracy", "What is refitted")
    sequential: allowed.Switch = asked(
        True,
        "Keeping accuracy",
        "Fit a layer on what the pruned layers before it give, or on the original's.",
        "--sequential/--parallel",
    )
    rotate: allowed.Switch = asked(
        True, "Keeping accuracy", "Mix channels between linear maps first, so that few carry most."
    )
    tune: allowed.Budget = asked(
        "auto",
        "Keeping accuracy",
        "Tune what stays by gradients for so long (5m, or 400steps): the original teaches, no "
        "labels are needed; auto: where PyTorch is and a scorer measures, 5 minutes at most.",
        form="TIME|off",
        shown=True,
    )
    batch_norm: allowed.Switch = asked(
        True,
        "Keeping accuracy",
        "Measure with BatchNorm on the statistics of the inputs, folded or not.",
    )
    steps: allowed.Steps = asked(
        1, "How much", "Rounds of cutting a little, refitting and scoring again."
    )
    memory: allowed.Memory | None = asked(
        None,
        "Inputs",
        "What the run may hold, such as 4G: half of it is for measuring, with fewer inputs where "
        "it is little; a run that holds more ends (not on systems that do not tell).",
        form="SIZE",
        shown=True,
        advice="4G is four GiB",
    )
    threads: allowed.Count | None = asked(
        None,
        "Model",
        "Threads that latency is measured with.  Default: onnxruntime's choice.",
        shown=True,
    )
    input_range: allowed.Range | None = asked(
        None,
        "Inputs",
        "Values of a pixel, before its mean is subtracted.  Default: what the model shows.",
        form="LO,HI",
    )
    mean: allowed.Pixels | None = asked(
        None, "Inputs", "Subtracted from pixels; one number, or one per channel.", form="A,B,C"
    )
    std: allowed.Spread | None = asked(
        None, "Inputs", "Divides pixels; one number, or one per channel.", form="A,B,C"
    )

    @property
    def measures(self) -> bool:
        """Whether channels are judged by what the model does on inputs."""
        if self.saliency is not None:
            return False
        return self.scorer == "auto" or bool(CRITERIA.says(self.scorer, "measures"))

    @property
    def tunes(self) -> bool:
        """Whether tuning by gradients was asked for, and how long."""
        return self.tune not in ("auto", "off")

    @property
    def differentiates(self) -> bool:
        """Whether channels are judged by gradients."""
        return (
            self.measures
            and self.scorer != "auto"
            and bool(CRITERIA.says(self.scorer, "gradients"))
        )

    @property
    def deepens(self) -> bool:
        """Whether branches are looked for that may go."""
        asked = self.speedup is not None or self.width == "off"
        return self.depth == "on" or (self.depth == "auto" and asked)

    @property
    def share(self) -> float:
        """The share to remove: `ratio`, or half."""
        return HALF if self.ratio is None else self.ratio

    @property
    def searches(self) -> bool:
        """Whether the most that passes is sought: gates on quality alone say how much may go."""
        alone = self.ratio is None and self.speedup is None and not self.bypass
        return alone and any(asks(self, name) for name in QUALITY)

    @property
    def budgeted(self) -> Recipe:
        """The recipe whose ratio says how much is to go, also what `speedup` asks for."""
        if self.speedup is None:
            return replace(self, ratio=self.share)
        return replace(self, of="latency", ratio=1.0 - 1.0 / self.speedup)

    @property
    def relative(self) -> bool:
        """Whether scores tell channels of a group apart only: they are no errors that add up."""
        return self.differentiates and bool(CRITERIA.says(self.scorer, "relative"))

    @property
    def mode(self) -> str:
        """What is refitted, with nothing left open."""
        if self.repair != "auto":
            return self.repair
        wanted = self.measures if self.reconstruct is None else self.reconstruct
        return "full" if wanted else "none"

    @property
    def repairs(self) -> bool:
        """Whether the weights that stay are refitted."""
        return self.mode != "none"

    def validate(self) -> Recipe:
        """Return the recipe itself, or raise a UsageError that says what to write instead."""
        for name in OPTIONS:
            checked(name, getattr(self, name))
        check_together(self, option)
        check_gates(self, [name for name in GATES if asks(self, name)], option)
        return self


OPTIONS: Mapping[str, Option] = {each.name: each.metadata["option"] for each in fields(Recipe)}
"""The option of every field."""

PLAIN = (bool, int, float, list, tuple, Mapping)


@cache
def kinds() -> dict[str, object]:
    """The type of every field, with bounds; a function or arrays are looked at elsewhere."""
    found = get_type_hints(Recipe, include_extras=True)
    return {**found, "calib": allowed.Path | None, "labels": allowed.Path | None, "check": str}


def option(name: str) -> str:
    """How the shell spells a field."""
    return spelt(name, OPTIONS[name])


def checked(name: str, value: object) -> object:
    """A value for a field, as the field's type has it.

    Raises:
        UsageError: the field does not allow it.
    """
    if name in CHOICES:
        return chosen(value, CHOICES[name], option(name))
    if name in NAMED:
        known = isinstance(value, str) and NAMED[name].offers(value)
        return value if known else chosen(value, NAMED[name].choices(), option(name))
    if name == "check" or (name in ("calib", "labels") and not isinstance(value, PLAIN)):
        return value  # which is looked at where it is used
    return fitted(value, kinds()[name], OPTIONS[name], option(name))


def asks(recipe: Recipe, gate: str) -> bool:
    """Whether a recipe demands something; a limit of 0 is a demand."""
    limit = getattr(recipe, gate)
    return limit is not None and limit is not False
