"""Written → Verdict: the cut is proved, the outputs are judged, both models timed.

The drift is measured on inputs that nothing was fitted on, the same for `prune` and `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx import ModelProto

from spa import devices, runtime
from spa.errors import ReadError, VerifyError
from spa.events import Advance
from spa.graph import Graph
from spa.latency import clock_for
from spa.pipeline.context import Context
from spa.pipeline.values import Groups, Settled, Verdict, Written
from spa.recipe import Recipe
from spa.reports.schema import Latency
from spa.validate import Drift, drift, runs_of, side_by_side, total, verify
from spa.validate import Verdict as Proof
from spa.validate.inputs import Feeds, Inputs, feeds_at, fresh, random
from spa.validate.latency import Clock
from spa.validate.original import Original
from spa.validate.own import OWN_RUNS, check_own
from spa.validate.proof import is_quantised
from spa.validate.quality import quality
from spa.validate.runs import Runner, session_of
from spa.validate.silent import amounts
from spa.validate.sizes import is_heavy
from spa.validate.zeroed import Bypassed, prove_bypass, runs_of_bypass

MOST_LIMITS = 3
Turn = tuple[dict[str, tuple[int, ...]], tuple[float, float]]
"""A run of both models: the shapes of their inputs, and the seconds that each took."""


def judge(written: Written, settled: Settled, context: Context) -> Verdict | None:
    """Prove the cut, then measure the drift and the latency of what is delivered.

    None where the recipe asks for no verification.

    Raises:
        VerifyError: the file is not what the plan says.
    """
    recipe = settled.recipe
    if recipe.verify == "none":
        return None
    original, repaired = written.original, written.repaired
    fitted = bool(settled.feeds) or repaired.model is not repaired.cut.model
    with context.stage("verify"):
        proof = _proved(written, recipe, context)
        with failing(recipe.verify, context):
            verdict = compare(original, written.file, settled, context, proof, fitted=fitted)
        _warn_of_speed(verdict, recipe, context)
    return verdict


def _proved(written: Written, recipe: Recipe, context: Context) -> Proof:
    """What is known of the cut, and of the bypass before it; sessions that it took are gone."""
    repaired, original = written.repaired, written.original
    cut = repaired.cut
    coupling, kept, short = cut.choice.coupling, cut.choice.kept, written.shortened
    refit = repaired.model is not cut.model
    same = coupling.graph is original.graph
    expected = [OWN_RUNS, runs_of(coupling, recipe.verify) - same]
    expected += [runs_of(coupling, "run", known=True)] * refit
    expected += [runs_of_bypass(original.graph)] * bool(short.bypassed)
    asked: dict[str, Any] = {"seed": recipe.seed, "device": recipe.device}
    asked["ran"] = context.counted(sum(expected), "runs")
    given = Original(original.graph, **asked)
    check_own(given)
    whole = given if same else Original(coupling.graph, **asked)
    with failing(recipe.verify, context):
        less = (
            prove_bypass(original.graph, short.bypassed, short.graph.proto, **asked)
            if short.bypassed
            else None
        )
        asked["original"] = whole
        proof = verify(coupling, kept, cut.model, level=recipe.verify, **asked)
        if refit:
            after = verify(coupling, kept, repaired.model, level="run", **asked)
            proof = replace(proof, drift=after.drift)
        if less is not None:
            proof = with_bypass(proof, less, original.graph, repaired.model, recipe)
    return proof


def with_bypass(
    proof: Proof,
    less: Bypassed,
    graph: Graph,
    small: ModelProto,
    recipe: Recipe,
    base_dir: Path | None = None,
) -> Proof:
    """What was seen of a cut and of the bypass before it; the drift is that of both."""
    found = drift_of(graph, small, base_dir or graph.source.base_dir, recipe, optimize=False)
    proof = replace(proof, drift=found)
    if proof.equivalence is None:
        return proof
    error = max(proof.equivalence, less.gap.error)
    return replace(proof, equivalence=error, compared=proof.compared + less.gap.compared)


def drift_of(
    graph: Graph, small: ModelProto, base_dir: Path | None, recipe: Recipe, *, optimize: bool
) -> Drift:
    """How far a model is from its original on the inputs of a proof.

    Args:
        graph: the original.
        small: the other.
        base_dir: the folder of its external data.
        recipe: with seed and device.
        optimize: whether onnxruntime may change the graphs.
    """
    feeds = feeds_at(graph, recipe.seed)
    before = Runner(graph.proto, graph.source.base_dir, recipe.device)(feeds, optimize)
    after = Runner(small, base_dir, recipe.device)(feeds, optimize)
    return drift(before, after)


@contextmanager
def failing(level: str, context: Context) -> Iterator[None]:
    """What raises in here has failed at this level, and the report says so."""
    try:
        yield
    except VerifyError:
        context.reach(Verdict(level, passed=False))
        raise


def _warn_of_speed(verdict: Verdict, recipe: Recipe, context: Context) -> None:
    """Say where nothing gets faster."""
    speedup = verdict.latency["speedup"] if verdict.latency else None
    if speedup is not None and speedup < 1.03:
        advice = "; --round-to auto keeps widths the kernels like"
        widths = "" if recipe.round_to == "auto" else advice
        context.warn(
            f"not faster here ({speedup:.2f}x): a model this small, or bound "
            f"by memory or by operators without weights, gains little{widths}"
        )


def compare(
    original: Groups,
    small: ModelProto,
    settled: Settled,
    context: Context,
    proof: Proof,
    *,
    fitted: bool,
    base_dir: Path | None = None,
) -> Verdict:
    """Measure drift and latency of `small` against the original.

    Args:
        original: the analysed original.
        small: the pruned model.
        settled: inputs, seed and device.
        context: of the run.
        proof: what is known already; its drift is used where no better inputs can be had.
        fitted: whether rows of the probe had a say in the weights of `small`.
        base_dir: the folder of external data of `small`; by default that of the original.
    """
    graph, recipe = original.graph, settled.recipe
    if recipe.device == "auto" and devices.idle_cuda():
        context.note(f"{devices.idle_cuda()} to use the GPU; models ran on the CPU")
    sessions = pair(graph, small, recipe, base_dir)
    exact = sessions
    if is_quantised(graph):  # fused kernels round differently, in both models
        exact = pair(graph, small, recipe, base_dir, optimize=False)
    turns: list[Turn] = []
    found = _drifted(original, exact, settled, context, fitted, turns)
    on, drift = found or (random(graph, recipe.seed), proof.drift)
    proof = replace(proof, drift=drift)
    timed = latency(graph, sessions, recipe, turns if exact is sessions else ())
    for limit in proof.limits[:MOST_LIMITS]:
        context.warn(f"not proved in full: {limit}")
    said = quality(graph, drift, on)
    return context.reach(Verdict(proof.level, True, proof, on, said, timed))


def _drifted(
    original: Groups,
    sessions: Sequence[Any],
    settled: Settled,
    context: Context,
    fitted: bool,
    turns: list[Turn],
) -> tuple[Inputs, Drift] | None:
    """Drift on rows of the probe that nothing is fitted on; None where the original takes none.

    What the runs took is added to `turns`.
    """
    graph, given = original.graph, settled.recipe.calib
    trouble = settled.trouble
    if settled.probe is not None:
        try:
            on = fresh(graph, settled.probe, original.sizes.macs)
            done = context.counted(len(on.runs), "batches")
            clock = clock_for(settled.recipe.device, settled.recipe.threads or 0)
            both = _both(sessions, on.runs, turns, clock)
            drift = total(_told(both, done), amounts(graph))
        except ReadError as error:
            if given is not None:
                raise
            trouble = str(error)
        else:
            if fitted and not on.held_back:
                why = "--calib has none to spare" if given else "the model takes but one input"
                context.warn(
                    f"drift is measured on inputs that the weights were fitted on, as {why}"
                )
            return replace(on, held_back=on.held_back or not fitted), drift
    context.note(f"drift is measured on random inputs, as there are no better ones: {trouble}")
    return None


def _told(pairs: Iterable[tuple[Any, Any]], done: Advance) -> Iterator[tuple[Any, Any]]:
    for each in pairs:
        done()
        yield each


def _both(
    sessions: Sequence[Any], runs: Sequence[Feeds], turns: list[Turn], clock: Clock
) -> Iterator[tuple[Any, Any]]:
    for feeds in runs:
        began = clock()
        before = runtime.run(sessions[0], feeds)
        middle = clock()
        try:
            after = runtime.run(sessions[1], feeds)
        except ReadError as error:
            raise VerifyError(
                f"the pruned model does not run on inputs that the original takes: {error}"
            ) from error
        turns.append((shapes_of(feeds), (middle - began, clock() - middle)))
        yield before, after


def pair(
    graph: Graph,
    small: ModelProto,
    recipe: Recipe,
    base_dir: Path | None = None,
    *,
    optimize: bool = True,
) -> list[Any]:
    """Sessions of the original and of the pruned model, up to what onnxruntime does not know.

    What keeps gigabytes of memory to itself cannot be held twice.
    """
    base = graph.source.base_dir
    heavy = is_heavy(graph.shapes)
    models = ((graph.proto, base), (small, base_dir or base))
    return [
        session_of(
            model,
            device=recipe.device,
            base_dir=folder,
            optimize=optimize,
            threads=recipe.threads or 0,
            timed=True,
            arena=not heavy,
        )[0]
        for model, folder in models
    ]


def shapes_of(feeds: Feeds) -> dict[str, tuple[int, ...]]:
    """The shapes of inputs, by name."""
    return {name: value.shape for name, value in feeds.items()}


def latency(
    graph: Graph, sessions: Sequence[Any], recipe: Recipe, turns: Sequence[Turn] = ()
) -> Latency:
    """Both models in turn, about a second in all; longer where a gate hangs on it.

    `turns` that they have taken before count, where these were of the same sizes.
    """
    feeds = feeds_at(graph, recipe.seed)
    known = [seconds for shapes, seconds in turns if shapes == shapes_of(feeds)]
    clock = clock_for(recipe.device, recipe.threads or 0)
    wanted = recipe.min_speedup
    timing = side_by_side(sessions, [feeds, feeds], wanted=wanted, known=known, clock=clock)
    low, high = timing.intervals[1]
    return {
        "provider": sessions[0].get_providers()[0],
        "threads": recipe.threads,
        "runs": len(timing.millis),
        "before_ms": timing.medians[0],
        "after_ms": timing.medians[1],
        "speedup": timing.speedups[1],
        "low": low,
        "high": high,
    }
