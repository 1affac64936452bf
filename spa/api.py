"""The Python face: the commands of the shell as functions, with the same names and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Union, cast

from spa import pipeline
from spa.config import recipe_from, unknown
from spa.errors import UsageError
from spa.events import Callback, quiet
from spa.graph import read
from spa.plans import Plan
from spa.probes import Calib, held, labels_held
from spa.recipe import OPTIONS, Recipe
from spa.spoken import spoken

if TYPE_CHECKING:
    import onnx

    from spa.pipeline import Result

Model = Union[str, "os.PathLike[str]", bytes, BinaryIO, "onnx.ModelProto", "Result"]

__all__ = ["apply", "bench", "inspect", "plan", "prune", "read", "sweep", "tune", "verify"]


@spoken
def prune(
    model: Model,
    ratio: float | None = None,
    *,
    of: str = "macs",
    scorer: str = Recipe.scorer,
    saliency: str | os.PathLike[str] | None = None,
    aggregate: Literal["sum", "mean", "max"] = "sum",
    normalize: Literal["none", "mean", "max", "gaussian"] = "mean",
    scope: Literal["global", "local"] = "global",
    layer_ratio: Mapping[str, float] | None = None,
    max_layer_ratio: float = 0.9,
    round_to: int | Literal["auto"] = "auto",
    min_channels: int = 1,
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
    heads: Literal["free", "tied", "whole"] = "free",
    input_shape: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    device: str = "auto",
    verify: Literal["none", "run", "equivalence"] = "equivalence",
    min_reduction: float | None = None,
    max_drift: float | None = None,
    min_agreement: float | None = None,
    min_quality: Literal["good", "risky"] | None = None,
    min_speedup: float | None = None,
    budget_bytes: int | None = None,
    check: str | Callable[[str], Any] | None = None,
    max_drop: float | None = None,
    min_score: float | None = None,
    require_proof: bool = False,
    strict: bool = False,
    reconstruct: bool | None = None,
    calib: Calib | None = None,
    labels: object = None,
    probe: str = "auto",
    invert: float | Literal["auto", "off"] = "auto",
    samples: int | None = None,
    allocation: str = "curves",
    repair: str = "auto",
    sequential: bool = True,
    rotate: bool = True,
    tune: str = "auto",
    batch_norm: bool = True,
    steps: int = 1,
    memory: int | None = None,
    threads: int | None = None,
    input_range: Sequence[float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bypass: Sequence[str] = (),
    speedup: float | None = None,
    depth: Literal["auto", "on", "off"] = "auto",
    width: Literal["on", "off"] = "on",
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    callback: Callback = quiet,
) -> Result:
    """Prune a model.

    Args:
        ratio: share to remove, 0 < ratio < 1.  Without it and without `speedup` half goes; with a
            gate on quality (`max_drift`, `min_agreement`, `min_quality`, `max_drop`, `min_score`)
            as much as makes the fastest model that passes it.
        check: function of a model's path, or a command line as in the shell, that gives a score.
        calib: inputs to fit on, instead of synthetic ones: the path of a file or a folder, an
            array for the only input, a dict of arrays by input, or an iterable of either.  Arrays
            have the types and shapes of the inputs, any number of rows; bytes are pixels.
        resume: whether to go on with a tuning that was interrupted; what came before is repeated.

    Returns:
        The model, the plan and the report.

    Raises:
        SpaError: its subclasses are the exit codes of the shell (`UsageError`, `ReadError`,
            `TargetError`, `VerifyError`); the partial report is its attribute `report`.
    """
    recipe = _recipe({name: value for name, value in locals().items() if name in OPTIONS})
    return pipeline.prune(
        _model(model), recipe, callback, output=output, force=force, resume=resume
    )


def _model(model: Any) -> Any:
    """A model as the pipeline reads it; that of a result, where one is given.

    Raises:
        UsageError: the result has no model.
    """
    if not isinstance(model, pipeline.Result):
        return model
    if model.model is None:
        raise UsageError(f"{model!r} has no model; give that of spa.prune, or a path")
    return model.model


def _recipe(options: Mapping[str, Any]) -> Recipe:
    """A recipe of options as Python has them.

    Raises:
        UsageError: an option is not what it may be.
        TypeError: there is no such option.
    """
    for name in options:
        if name not in OPTIONS:
            raise TypeError(unknown(name, OPTIONS))
    labels = labels_held(options.get("labels"))
    return recipe_from({**options, "calib": held(options.get("calib")), "labels": labels})


@spoken
def plan(model: Model, ratio: float = 0.5, *, callback: Callback = quiet, **options: Any) -> Result:
    """Score and allocate, change nothing.

    Args:
        options: further fields of `Recipe`, named as for `prune`.

    Returns:
        The plan and the report; `save` writes the plan.

    Raises:
        SpaError: as for `prune`.
    """
    return pipeline.make_plan(_model(model), _recipe({"ratio": ratio, **options}), callback)


@spoken
def apply(
    model: Model,
    plan: str | os.PathLike[str] | Plan | Result,
    *,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """Cut a model as a plan says.

    Args:
        plan: a plan, the file of one, or what `spa.plan` or `spa.prune` gave back.
        resume: as for `prune`.
        options: fields of `Recipe` that say how the result is checked, named as for `prune`.

    Returns:
        The model, the plan and the report.

    Raises:
        UsageError: the plan does not fit the model; others as for `prune`.
    """
    asked = _recipe(options)
    given = {"output": output, "force": force, "resume": resume}
    return pipeline.apply(_model(model), plan, asked, callback, **given)


@spoken
def inspect(model: Model, *, callback: Callback = quiet, **options: Any) -> Result:
    """The report of `spa inspect`: groups, what each costs, what is frozen and why.

    Args:
        options: `ignore`, `only`, `heads`, `input_shape`, `strict`, as for `prune`.

    Raises:
        ReadError: the model cannot be read.
    """
    return pipeline.inspect(_model(model), _recipe(options), callback)


@spoken
def verify(
    original: Model,
    pruned: Model,
    *,
    level: Literal["auto", "run", "equivalence"] = "auto",
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """The report of `spa verify`: shapes, drift, latency, gates.

    Args:
        original: path, bytes, stream or ModelProto.
        pruned: likewise.
        level: `equivalence` compares with the masked original, by the plan that `pruned` carries;
            `auto` does so where it can.
        options: gates, `input_shape`, `seed`, `device`, and the inputs (`calib`, `probe` and so
            on), as for `prune`.

    Raises:
        VerifyError: the models do not match, or a gate failed.
    """
    pair = _model(original), _model(pruned)
    return pipeline.verify(*pair, _recipe(options), callback, level=level)


@spoken
def tune(
    dense: Model,
    small: Model,
    time: str = "5m",
    *,
    steps: int | None = None,
    labels: object = None,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """Tune a pruned model by gradients, with its original for a teacher; no labels are needed.

    Args:
        dense: the original: path, bytes, stream or ModelProto.
        small: its pruned version, likewise; the same graph is given back with other weights.
        time: how long, such as 90s, 5m or 1h.
        steps: so many steps in place of a time; with the same seed they give the same bits.
        labels: classes of the rows of `calib`, an array or the path of one, whose cross-entropy
            is added.
        resume: whether to go on from where a run of the same kind was interrupted.
        options: `calib`, `probe`, `samples`, `seed`, `device`, gates and so on, as for `prune`.

    Returns:
        The tuned model, and a report with `tune`; an `exit_code` of 130 where Ctrl-C ended it.

    Raises:
        UsageError: PyTorch is not installed, or an option is wrong.
        VerifyError: the two models do not belong together, or a gate failed.
    """
    budget = time if steps is None else f"{steps}steps"
    recipe = _recipe({**options, "tune": budget, "labels": labels})
    return pipeline.tune(
        _model(dense),
        _model(small),
        recipe,
        callback,
        resume=resume,
        output=output,
        force=force,
    )


@spoken
def sweep(
    model: Model,
    ratios: Sequence[float] = (),
    *,
    speedups: Sequence[float] = (),
    fastest: bool = False,
    precision: float | None = None,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """Try several ratios or speed-ups on one model, which is read and scored once; or search.

    Args:
        ratios: shares to remove; none: the largest that passes the gates is sought.
        speedups: in place of ratios, how many times as fast by the clock of this machine.
        fastest: whether to search by speed, for the fastest model that passes.
        precision: how finely a search looks: a share (0.01), or a step of speed (0.05).
        resume: whether to go on with the tunings of a sweep that was interrupted; what came before
            them is repeated.
        output: where to write the best model that passes (not at all by default).
        options: further fields of `Recipe`, named as for `prune`; a search needs `max_drift`, or
            `check` with `max_drop` or `min_score`.

    Returns:
        The best model that passes, its plan, and a report with `rows`, one per budget, and
        `best`; an `exit_code` other than 0 where no model passes.

    Raises:
        SpaError: nothing could be tried; as for `prune`.
    """
    return pipeline.sweep(
        _model(model),
        _recipe(options),
        callback,
        ratios=ratios,
        speedups=speedups,
        fastest=fastest,
        precision=precision,
        resume=resume,
        output=output,
        force=force,
    )


@spoken
def bench(
    *models: Model | Sequence[Model],
    runs: int | None = None,
    warmup: int = 5,
    threads: int | None = None,
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """Latency of several models in one interleaved run; the first is the measure.

    Args:
        models: paths, bytes, streams or ModelProtos, one by one or as one sequence.
        runs: timed runs of each model; by default until the ratios are settled.
        warmup: runs before the timed ones, at least; they go on for 50 ms, too, unless it is 0.
        threads: of one run; onnxruntime's choice by default.
        options: `input_shape`, `seed` and `device`, as for `prune`.

    Raises:
        ReadError: a model cannot be read or run.
        UsageError: there is no model, or an option is wrong.
    """
    recipe = _recipe(options)
    listed: list[Any] = []
    for model in models:
        several = isinstance(model, Sequence) and not isinstance(model, (str, bytes))
        listed += map(_model, cast(Any, model) if several else [model])
    return pipeline.bench(listed, recipe, callback, runs=runs, warmup=warmup, threads=threads)
