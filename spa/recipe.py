"""What a person asks for, as one frozen value: every stage reads it, none changes it.

The fields carry the names of the command line's options, so the shell, the Python API and the
environment variables say the same thing.  The defaults written here are the only ones.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from spa.errors import UsageError
from spa.registry import CRITERIA, NAMED

if TYPE_CHECKING:
    from spa.probes import Held

Aggregate = Literal["sum", "mean", "max"]
Normalize = Literal["none", "mean", "max", "gaussian"]
Scope = Literal["global", "local"]
Device = Literal["auto", "cpu", "cuda"]
Verify = Literal["none", "run", "equivalence"]
Heads = Literal["free", "tied", "whole"]
Probe = Literal["auto", "leaves", "uniform", "gaussian", "tokens", "audio", "vectors"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "aggregate": get_args(Aggregate),
    "normalize": get_args(Normalize),
    "scope": get_args(Scope),
    "device": get_args(Device),
    "verify": get_args(Verify),
    "probe": get_args(Probe),
    "heads": get_args(Heads),
}
GATES = (
    "min_reduction",
    "max_drift",
    "min_agreement",
    "min_speedup",
    "budget_bytes",
    "max_drop",
    "min_score",
    "require_proof",
)
"""Fields that demand something of the result."""
LEAST_MEMORY = 1 << 20
MOST_STEPS = 100


@dataclass(frozen=True)
class Recipe:
    """How much to remove, what to judge by, where to stay away, and what must hold afterwards.

    Attributes:
        ratio: the share to remove, 0 < ratio < 1; a given plan takes its place.
        of: what the ratio is a ratio of; "latency" is time as measured on this machine.
        scorer: the name of the criterion; a saliency file takes its place.  "auto" is "obspa", or
            "l2" where the model cannot be run on inputs made for it.
        saliency: a file with one number per weight, by initializer name.
        layer_ratio: shares for the layers a glob names, in place of what the budget would give.
        max_layer_ratio: no layer loses a larger share of its channels than this.
        round_to: channels kept in a layer are a multiple of this, "auto" where it pays.
        min_channels: no layer keeps fewer channels than this.
        heads: how finely attention is cut: every head keeps channels of its own, all heads keep the
            same positions, or heads go as a whole.
        min_reduction: gate, the share of `of` that must really be gone.
        max_drift: gate, the largest drift (NRMSE) an output may show.
        min_agreement: gate, the least share of labels (top-1 classes, integers) that stay.
        min_speedup: gate, the least factor by which the pruned model must be faster.
        budget_bytes: gate, what the written file, external data included, may weigh at most.
        check: the user's own judge of a model file: a command line with `{model}` in it, an entry
            point `module:function`, or a function that takes a path; higher scores are better.
        max_drop: gate, how far below the original's score the pruned model's may be.
        min_score: gate, the least score of the pruned model.
        require_proof: gate, the cut must be proved in full: all that it makes was compared.
        strict: an operator frozen because it is unknown is an error.
        reconstruct: False is repair "none", True is "full" unless `repair` says how.
        repair: what is refitted by least squares: nothing, biases, a mix of the channels that stay,
            or all weights; "auto" is "full" with a scorer that measures, else "none".
        sequential: whether a layer is fitted on what the pruned layers before it give, or on what
            the original ones give.
        rotate: whether channels between linear maps are mixed first, so that few carry most; only
            with a scorer that measures and a repair.
        batch_norm: whether BatchNormalization runs on the statistics of the probe while scores and
            weights are found, and so do those that were folded away, as far as can be recovered.
        allocation: how the budget is shared out: the same share everywhere, cheapest channel first,
            or the best total along error curves.
        threads: of one run where latency is measured; None: onnxruntime's choice.
        steps: rounds of cutting a little, refitting and scoring again.
        memory: bytes that a run may hold, half of them to measure; None: what is usual, at most
            what is free.  The shell ends a run that holds more.
        calib: file or folder of inputs, or arrays, to fit on, instead of synthetic ones.
        probe: kind of synthetic inputs.
        samples: how many inputs to fit on; None: by the model's size.
        input_range: lowest and highest value of a pixel, before `mean` and `std`.
        mean: subtracted from pixels; one number or one per channel.
        std: divides pixels; one number or one per channel.
    """

    ratio: float = 0.5
    of: str = "macs"
    scorer: str = "auto"
    saliency: str | None = None
    aggregate: Aggregate = "sum"
    normalize: Normalize = "mean"
    scope: Scope = "global"
    layer_ratio: Mapping[str, float] = field(default_factory=dict)
    max_layer_ratio: float = 0.9
    round_to: int | Literal["auto"] = "auto"
    min_channels: int = 1
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    heads: Heads = "free"
    input_shape: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seed: int = 0
    device: Device = "auto"
    verify: Verify = "equivalence"
    min_reduction: float | None = None
    max_drift: float | None = None
    min_agreement: float | None = None
    min_speedup: float | None = None
    budget_bytes: int | None = None
    check: str | Callable[[str], Any] | None = None
    max_drop: float | None = None
    min_score: float | None = None
    require_proof: bool = False
    strict: bool = False
    reconstruct: bool | None = None
    calib: str | Held | None = None
    probe: Probe = "auto"
    samples: int | None = None
    allocation: str = "curves"
    repair: str = "auto"
    sequential: bool = True
    rotate: bool = True
    batch_norm: bool = True
    steps: int = 1
    memory: int | None = None
    threads: int | None = None
    input_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def measures(self) -> bool:
        """Whether channels are judged by what the model does on inputs."""
        if self.saliency is not None:
            return False
        return self.scorer == "auto" or bool(CRITERIA.says(self.scorer, "measures"))

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
        _check_amounts(self)
        _check_choices(self)
        _check_limits(self)
        _check_repair(self)
        _check_pixels(self)
        _check_shapes(self.input_shape)
        _check_gates(self)
        _check_own(self)
        return self


def _check_amounts(recipe: Recipe) -> None:
    if not 0 < recipe.ratio < 1:
        raise UsageError(
            f"--ratio must lie strictly between 0 and 1, not {recipe.ratio:g}; "
            f"{_ratio_advice(recipe.ratio)}"
        )
    if not 0 < recipe.max_layer_ratio <= 1:
        raise UsageError(
            f"--max-layer-ratio must lie in (0, 1], not {recipe.max_layer_ratio:g}; "
            "1 leaves only --min-channels as a limit"
        )
    if recipe.of == "channels" and recipe.ratio > recipe.max_layer_ratio:
        raise UsageError(
            f"--ratio {recipe.ratio:g} of the channels is more than --max-layer-ratio "
            f"{recipe.max_layer_ratio:g} lets any layer lose; raise --max-layer-ratio"
        )
    for glob, share in recipe.layer_ratio.items():
        if not 0 <= share < 1:
            raise UsageError(
                f"--layer-ratio {glob}={share:g} must lie in [0, 1); 0 keeps the layer whole"
            )


def _ratio_advice(ratio: float) -> str:
    if 1 < ratio < 100:
        return f"write {ratio / 100:g} to remove {ratio:g} %"
    if ratio == 0:
        return "to look without cutting use `spa inspect`"
    return "0.5 removes half"


def _check_choices(recipe: Recipe) -> None:
    for name in (*CHOICES, *NAMED):
        value = getattr(recipe, name)
        if name in NAMED and isinstance(value, str) and NAMED[name].offers(value):
            continue
        choices = NAMED[name].choices() if name in NAMED else CHOICES[name]
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
            raise UsageError(f"--{name.replace('_', '-')} {value!r} is unknown; {hint}")


def _check_limits(recipe: Recipe) -> None:
    if recipe.round_to != "auto" and not (_whole(recipe.round_to) and recipe.round_to >= 1):
        raise UsageError(
            f'--round-to must be a whole number of at least 1 or "auto", not {recipe.round_to!r}'
        )
    if not (_whole(recipe.min_channels) and recipe.min_channels >= 1):
        raise UsageError(f"--min-channels must be at least 1, not {recipe.min_channels!r}")
    if not (_whole(recipe.seed) and recipe.seed >= 0):
        raise UsageError(f"--seed must be a whole number of at least 0, not {recipe.seed!r}")
    for name in ("ignore", "only"):
        if isinstance(getattr(recipe, name), str):
            raise UsageError(f"{name} is a sequence of globs, not one string; write ({name!r},)")


def _check_repair(recipe: Recipe) -> None:
    if not (_whole(recipe.steps) and 1 <= recipe.steps <= MOST_STEPS):
        raise UsageError(
            f"--steps must be a whole number from 1 to {MOST_STEPS}, not {recipe.steps!r}"
        )
    memory = recipe.memory
    if memory is not None and not (_whole(memory) and memory >= LEAST_MEMORY):
        raise UsageError(
            f"--memory {memory} is less than 1M, too little for any model; 4G is four GiB"
        )
    if recipe.threads is not None and not (_whole(recipe.threads) and recipe.threads >= 1):
        raise UsageError(f"--threads must be a whole number of at least 1, not {recipe.threads!r}")
    asked = None if recipe.repair == "auto" else recipe.repair != "none"
    if recipe.steps > 1 and recipe.saliency is not None:
        raise UsageError(
            "--steps scores again after every round, which --saliency, one file for the whole "
            "model, cannot; leave one of them out"
        )
    if recipe.reconstruct is not None and asked is not None and recipe.reconstruct != asked:
        word = "--reconstruct" if recipe.reconstruct else "--no-reconstruct"
        raise UsageError(
            f"{word} and --repair {recipe.repair} contradict each other; give one of them"
        )


def _check_pixels(recipe: Recipe) -> None:
    for name in ("input_range", "mean", "std"):
        values = getattr(recipe, name)
        option = f"--{name.replace('_', '-')}"
        if values is None:
            continue
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise UsageError(f"{option} is a sequence of numbers, not {values!r}")
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
            raise UsageError(f"{option} needs finite numbers, not {_listed(values)}")
    if recipe.input_range is not None and (
        len(recipe.input_range) != 2 or recipe.input_range[0] >= recipe.input_range[1]
    ):
        raise UsageError(
            f"--input-range needs two numbers, the lower one first, as in 0,255; not "
            f"{_listed(recipe.input_range)}"
        )
    if recipe.std is not None and min(recipe.std) <= 0:
        raise UsageError(f"--std divides, so it must be above 0, not {_listed(recipe.std)}")


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" if isinstance(v, (int, float)) else repr(v) for v in values)


def _check_shapes(shapes: Mapping[str, Sequence[int]]) -> None:
    for name, shape in shapes.items():
        if not all(_whole(size) and size >= 1 for size in shape):
            raise UsageError(
                f"--input-shape {name}:{','.join(map(str, shape))} needs whole sizes of at least "
                f"1, as in {name}:1,3,224,224"
            )


def _check_gates(recipe: Recipe) -> None:
    if recipe.min_reduction is not None and not 0 <= recipe.min_reduction < 1:
        raise UsageError(
            f"--min-reduction is a share in [0, 1), not {recipe.min_reduction:g}; "
            "0.4 demands that 40 % are gone"
        )
    if recipe.max_drift is not None and not recipe.max_drift >= 0:
        raise UsageError(f"--max-drift must be at least 0, not {recipe.max_drift:g}")
    agreement = recipe.min_agreement
    if agreement is not None and not 0 <= agreement <= 1:
        raise UsageError(
            f"--min-agreement is a share in [0, 1], not {agreement:g}; "
            "0.98 demands that 98 % of the labels stay"
        )
    if recipe.min_speedup is not None and not (0 < recipe.min_speedup < math.inf):
        raise UsageError(
            f"--min-speedup is a factor above 0, not {recipe.min_speedup:g}; "
            "1.2 demands 20 % more speed"
        )
    size = recipe.budget_bytes
    if size is not None and not (_whole(size) and size >= 1):
        raise UsageError(f"--budget-bytes is a number of bytes of at least 1, not {size!r}")
    if recipe.verify != "none":
        return
    for name in ("max_drift", "min_agreement", "min_speedup", "require_proof"):
        if asks(recipe, name):
            raise UsageError(
                f"--{name.replace('_', '-')} must run the models and --verify none forbids it; "
                "use --verify run"
            )


def _check_own(recipe: Recipe) -> None:
    if recipe.check is not None:
        from spa.check import validate

        validate(recipe.check)
    if recipe.max_drop is not None and not 0 <= recipe.max_drop < math.inf:
        raise UsageError(f"--max-drop must be at least 0, not {recipe.max_drop:g}")
    if recipe.min_score is not None and not math.isfinite(recipe.min_score):
        raise UsageError(f"--min-score must be a finite number, not {recipe.min_score:g}")
    for name in ("max_drop", "min_score"):
        if getattr(recipe, name) is not None and recipe.check is None:
            raise UsageError(
                f"--{name.replace('_', '-')} is about the score of a --check, and none is given; "
                "write --check 'python eval.py {model}'"
            )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def asks(recipe: Recipe, gate: str) -> bool:
    """Whether a recipe demands something; a limit of 0 is a demand."""
    limit = getattr(recipe, gate)
    return limit is not None and limit is not False
