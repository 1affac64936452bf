"""Verification as every command does it: the cut proved, the drift measured, both models timed.

The drift is measured on inputs that nothing was fitted on, the same for `prune` and `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx import ModelProto

from spa import devices, runtime
from spa.coupling.cost import Cost
from spa.coupling.model import Coupling
from spa.errors import ReadError, VerifyError
from spa.events import Advance
from spa.graph import Graph
from spa.latency import clock_for
from spa.pipeline import facts
from spa.pipeline.inputs import probe_of
from spa.pipeline.journal import Journal
from spa.recipe import Recipe
from spa.reports.moved import measured_on
from spa.reports.wording import LARGE_DRIFT, LOW_AGREEMENT, measure, percent, printable
from spa.validate import Drift, Verdict, runs_of, side_by_side, total, verify
from spa.validate.inputs import Feeds, Inputs, feeds_at, fresh, random
from spa.validate.own import OWN_RUNS, check_own
from spa.validate.proof import is_quantised
from spa.validate.runs import session_of
from spa.validate.silent import amounts, silent
from spa.validate.sizes import is_heavy

MOST_LIMITS = 3


def check(
    original: Coupling,
    coupling: Coupling,
    alive: Any,
    cut: ModelProto,
    small: ModelProto,
    file: ModelProto,
    recipe: Recipe,
    journal: Journal,
) -> None:
    """Prove the cut, then measure the drift and the latency of what is delivered.

    `coupling` is what was cut: the original, or the same in another basis; `file` is what is
    written of `small`, some constants of which it may compute.

    Fills the sections `verify` and `latency`.  Raises VerifyError.
    """
    report = journal.report
    asked: dict[str, Any] = {"seed": recipe.seed, "device": recipe.device}
    expected = [OWN_RUNS, runs_of(coupling, recipe.verify)]
    expected += [runs_of(coupling, "run")] * (small is not cut)
    asked["ran"] = journal.counted(sum(expected), "runs")
    check_own(original.graph, **asked)
    try:
        verdict = verify(coupling, alive, cut, level=recipe.verify, **asked)
        if small is not cut:
            after = verify(coupling, alive, small, level="run", **asked)
            verdict = replace(verdict, drift=after.drift)
        verdict = compare(original, file, recipe, journal, verdict, fitted=bool(journal.feeds))
    except VerifyError:
        report["verify"] = {**facts.verify_facts(None, recipe.verify), "passed": False}
        raise
    _warn_of_drift(original.graph, verdict.drift, journal)
    if report["latency"]["speedup"] < 1.03:
        advice = "; --round-to auto keeps widths the kernels like"
        widths = "" if recipe.round_to == "auto" else advice
        journal.warn(
            f"not faster here ({report['latency']['speedup']:.2f}x): a model this small, or bound "
            f"by memory or by operators without weights, gains little{widths}"
        )


def _warn_of_drift(graph: Graph, drift: Drift, journal: Journal) -> None:
    """Say where the outputs drift so far that accuracy suffers, or that it cannot be known."""
    on = measured_on(journal.report)
    faint = silent(graph, drift)
    drifts = {name: d for name, d in drift.relative.items() if d is not None}
    worst = max((d for name, d in drifts.items() if name not in faint), default=0.0)
    if worst > LARGE_DRIFT:
        journal.warn(
            f"the outputs drift by {worst:.2f} (NRMSE on {on}): expect a loss of accuracy; "
            "remove less, or fine-tune the result"
        )
    for name, size in faint.items():
        if drifts.get(name, 0.0) > LARGE_DRIFT:
            journal.warn(
                f"{printable(name)} of the original is next to nothing on {on} (root mean square "
                f"{size:.0e}), so that its drift of {measure(drifts[name])} says little; "
                "give inputs that it answers to with --calib"
            )
    _warn_of_labels(drift, on, journal)


def _warn_of_labels(drift: Drift, on: str, journal: Journal) -> None:
    """Say where labels change, and which outputs nothing is known of."""
    for name, share in drift.agreement.items():
        if share is not None and share < LOW_AGREEMENT:
            journal.warn(
                f"{printable(name)} keeps {percent(share)} of its labels (on {on}): expect a loss "
                "of accuracy; remove less, or fine-tune the result"
            )
    for name, why in drift.unverified.items():
        journal.warn(
            f"the drift of {printable(name)} is not verified: {why} ({on}); give inputs that it "
            "answers to with --calib"
        )


def compare(
    coupling: Coupling,
    small: ModelProto,
    recipe: Recipe,
    journal: Journal,
    verdict: Verdict,
    *,
    fitted: bool,
    base_dir: Path | None = None,
) -> Verdict:
    """Measure drift and latency of `small` against the original; fill the report.

    Args:
        coupling: the analysed original.
        small: the pruned model.
        recipe: inputs, seed and device.
        journal: where the report is.
        verdict: what is known already; its drift is used where no better inputs can be had.
        fitted: whether rows of the probe had a say in the weights of `small`.
        base_dir: the folder of external data of `small`; by default that of the original.

    Returns:
        The verdict, with the drift as measured.
    """
    graph = coupling.graph
    if recipe.device == "auto" and devices.idle_cuda():
        journal.note(f"{devices.idle_cuda()} to use the GPU; models ran on the CPU")
    sessions = pair(graph, small, recipe, base_dir)
    exact = sessions
    if is_quantised(graph):  # fused kernels round differently, in both models
        exact = pair(graph, small, recipe, base_dir, optimize=False)
    found = _judged(coupling, exact, recipe, journal, fitted)
    if found is None:
        on = random(graph, recipe.seed)
    else:
        on, moved = found
        verdict = replace(verdict, drift=moved)
    journal.report["verify"] = facts.verify_facts(verdict, verdict.level, on)
    journal.report["latency"] = latency(graph, sessions, recipe)
    for limit in verdict.limits[:MOST_LIMITS]:
        journal.warn(f"not proved in full: {limit}")
    return verdict


def _judged(
    coupling: Coupling, sessions: Sequence[Any], recipe: Recipe, journal: Journal, fitted: bool
) -> tuple[Inputs, Drift] | None:
    """Drift on rows of the probe that nothing is fitted on; None where the original takes none."""
    try:
        probe = probe_of(coupling.graph, recipe, journal)
        on = fresh(coupling.graph, probe, Cost(coupling)(coupling.everything()).macs)
        done = journal.counted(len(on.runs), "batches")
        moved = total(_told(_both(sessions, on.runs), done), amounts(coupling.graph))
    except ReadError as error:
        if recipe.calib is not None:
            raise
        journal.note(f"drift is measured on random inputs, as there are no better ones: {error}")
        return None
    if fitted and not on.held_back:
        why = "--calib has none to spare" if recipe.calib else "the model takes but one input"
        journal.warn(f"drift is measured on inputs that the weights were fitted on, as {why}")
    return replace(on, held_back=on.held_back or not fitted), moved


def _told(pairs: Iterable[tuple[Any, Any]], done: Advance) -> Iterator[tuple[Any, Any]]:
    for each in pairs:
        done()
        yield each


def _both(sessions: Sequence[Any], runs: Sequence[Feeds]) -> Iterator[tuple[Any, Any]]:
    for feeds in runs:
        before = runtime.run(sessions[0], feeds)
        try:
            yield before, runtime.run(sessions[1], feeds)
        except ReadError as error:
            raise VerifyError(
                f"the pruned model does not run on inputs that the original takes: {error}"
            ) from error


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


def latency(graph: Graph, sessions: Sequence[Any], recipe: Recipe) -> dict[str, Any]:
    """Both models in turn, about a second in all; longer where a gate hangs on it."""
    feeds = feeds_at(graph, recipe.seed)
    clock = clock_for(recipe.device, recipe.threads or 0)
    wanted = recipe.min_speedup
    timing = side_by_side(sessions, [feeds, feeds], wanted=wanted, clock=clock)
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
