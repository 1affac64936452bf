"""`prune` and `apply`: from a model to a smaller, verified one."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa import runtime
from spa._version import __version__
from spa.budgets import allocate
from spa.coupling import Coupling, analyse, misplaced, refine
from spa.coupling.cost import Cost, reduction
from spa.criteria import MEASURED, score
from spa.errors import ReadError, TargetError, VerifyError
from spa.events import Note, Tell, quiet
from spa.executor.samples import BATCH, samples_for
from spa.graph import Graph, read, save
from spa.pipeline import facts
from spa.pipeline.gates import check_gates
from spa.pipeline.journal import Journal
from spa.pipeline.outcome import Outcome
from spa.plans import Plan, place, plan_of
from spa.probes import probe_for
from spa.recipe import Recipe
from spa.repairs import reconstruct
from spa.rewrite import rewrite
from spa.validate import measure, verify
from spa.validate.inputs import feeds_at

LARGE_DRIFT = 0.3  # relative L2 of an output that earns a warning
LATER = frozenset(("device", "verify", "min_reduction", "max_drift", "min_speedup", "strict"))
"""Fields of a recipe that have no say in what is kept."""

ROUNDS = 30  # how often a choice that does not fit may be made again with less freedom
REFITTED = "spa.reconstructed"
LARGEST_PLAN = 1 << 28  # bytes that a plan in a model's metadata may unfold to
Alive = NDArray[np.bool_]
Feeds = Sequence[Mapping[str, NDArray[Any]]]


def prune(
    model: Any,
    recipe: Recipe,
    tell: Tell = quiet,
    *,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    dry_run: bool = False,
    plan: str | os.PathLike[str] | Plan | None = None,
) -> Outcome:
    """Prune one model.

    Args:
        model: a path, bytes, a stream or a ModelProto.
        recipe: what to do; `recipe.ratio` is ignored when a plan is given.
        tell: where progress goes.
        output: where to write the model; without it nothing is written.
        force: whether an existing output may be replaced.
        dry_run: do everything but write.
        plan: a plan, or the path of one, to follow instead of scoring.

    Raises:
        SpaError: with the partial report as its attribute `report`.
    """
    journal = Journal("prune", tell)
    with journal.written():
        recipe.validate()
        given = Plan.load(plan) if isinstance(plan, (str, os.PathLike)) else plan
        coupling = couple(model, recipe, journal)
        if given is None:
            coupling, alive = choose(coupling, recipe, journal)
        else:
            alive = follow(coupling, given, journal)
        outcome = carry_out(coupling, alive, recipe, journal, given)
        if output is not None and not dry_run:
            deliver(outcome, coupling.graph, output, force)
    journal.succeed("dry-run" if dry_run else "ok")
    return outcome


def apply(
    model: Any,
    plan: str | os.PathLike[str] | Plan,
    recipe: Recipe,
    tell: Tell = quiet,
    *,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Outcome:
    """Cut a model as a plan says; arguments and errors as for `prune`."""
    journal = Journal("apply", tell)
    with journal.written():
        recipe.validate()
        given = plan if isinstance(plan, Plan) else Plan.load(plan)
        coupling = couple(model, recipe, journal)
        alive = follow(coupling, given, journal)
        outcome = carry_out(coupling, alive, recipe, journal, given)
        if output is not None:
            deliver(outcome, coupling.graph, output, force)
    journal.succeed()
    return outcome


def couple(model: Any, recipe: Recipe, journal: Journal) -> Coupling:
    """Read and analyse; fills `input` and `frozen`."""
    with journal.stage("load"):
        graph = read(model, input_shapes=recipe.input_shape)
    with journal.stage("couple"):
        coupling = analyse(graph, tell=journal.tell)
        cost = Cost(coupling)
    journal.report["input"] = facts.input_facts(coupling, cost(coupling.everything()))
    journal.report["frozen"] = facts.frozen_facts(coupling)
    journal.report["groups"] = facts.group_facts(coupling, None)
    unknown = coupling.notes.unknown
    if unknown and recipe.strict:
        raise ReadError(
            f"--strict: {unknown[0].text} at node {unknown[0].node} ({len(unknown)} such nodes); "
            "its channels would stay frozen, so run without --strict to prune the rest"
        )
    return coupling


def choose(coupling: Coupling, recipe: Recipe, journal: Journal) -> tuple[Coupling, Alive]:
    """Score and allocate; where a choice does not fit, take away that freedom and choose again."""
    feeds: Feeds = ()
    if recipe.scorer in MEASURED and recipe.saliency is None:
        feeds = probe_feeds(coupling.graph, recipe, journal)
    for _ in range(ROUNDS):
        with journal.stage("score"):
            scores = score(
                coupling,
                recipe.scorer,
                saliency=recipe.saliency,
                how=recipe.aggregate,
                norm=recipe.normalize,
                seed=recipe.seed,
                feeds=feeds,
                device=recipe.device,
            )
        with journal.stage("allocate"):
            alive = allocate(coupling, scores, recipe)
            errors = misplaced(coupling, alive)
        if not errors:
            return coupling, alive
        with journal.stage("couple"):
            coupling = refine(coupling, errors)
    raise TargetError(
        f"no choice of channels fits at node {errors[0].node.name} ({errors[0]}); "
        "keep that part with --ignore and report this model"
    )


def follow(coupling: Coupling, plan: Plan, journal: Journal) -> Alive:
    """The choice a plan makes."""
    with journal.stage("allocate"):
        alive, missing = place(coupling, plan)
    if missing:
        journal.warn(
            f"{len(missing)} tensors of the plan are not in this model (such as {missing[0]}); "
            "their channels follow from the others"
        )
    return alive


def carry_out(
    coupling: Coupling, alive: Alive, recipe: Recipe, journal: Journal, given: Plan | None
) -> Outcome:
    """Rewrite, verify, measure, and pass the gates; `given` is the plan that is followed."""
    report = journal.report
    cost = Cost(coupling)
    before, after = cost(coupling.everything()), cost(alive)
    with journal.stage("rewrite"):
        small = rewrite(coupling, alive)
        made_by = recipe_facts(recipe) if given is None else given.recipe
        plan = plan_of(coupling, alive, made_by)
    cut = small
    if recipe.repairs:
        small = repair(coupling, alive, cut, recipe, journal)
    sign(small, coupling.graph, plan, refitted=small is not cut)
    report["output"] = facts.output_facts(small, after)
    report["reduction"] = {**reduction(before, after), "bytes": None}
    report["groups"] = facts.group_facts(coupling, alive, cost)
    proto = coupling.graph.proto
    report["ops"] = {"before": facts.op_counts(proto), "after": facts.op_counts(small)}
    sizes_note(coupling.graph, journal)
    if recipe.verify != "none":
        with journal.stage("verify"):
            _verify(coupling, alive, cut, small, recipe, journal)
    check_gates(report, recipe)
    return Outcome(small, plan, report, 0, coupling.graph.source.base_dir)


def probe_feeds(graph: Graph, recipe: Recipe, journal: Journal) -> Feeds:
    """Inputs to score and fit on, made once; what was chosen, and why, is noted."""
    if journal.feeds:
        return journal.feeds
    with journal.stage("probe"):
        probe = probe_for(graph, kind=recipe.probe, seed=recipe.seed, calib=recipe.calib)
        feeds = list(probe.batches(recipe.samples or samples_for(graph), BATCH))
    journal.tell(Note(probe.why))
    journal.report.setdefault("notes", []).append(probe.why)
    journal.feeds = feeds
    return feeds


def repair(
    coupling: Coupling, alive: Alive, cut: ModelProto, recipe: Recipe, journal: Journal
) -> ModelProto:
    """Refit what stays by sequential least squares."""
    feeds = probe_feeds(coupling.graph, recipe, journal)
    with journal.stage("reconstruct"):
        small, done = reconstruct(
            coupling, alive, cut, feeds, device=recipe.device, tell=journal.tell
        )
    dropped = [site.node for site in done if not site.kept]
    if dropped:
        journal.warn(
            f"reconstruction did not help at {len(dropped)} of {len(done)} sites (such as "
            f"{dropped[0]}): their weights were only cut"
        )
    return small


def _verify(
    coupling: Coupling,
    alive: Alive,
    cut: ModelProto,
    small: ModelProto,
    recipe: Recipe,
    journal: Journal,
) -> None:
    """Prove the cut, then measure the drift of what is delivered."""
    report, graph = journal.report, coupling.graph
    asked: dict[str, Any] = {"seed": recipe.seed, "device": recipe.device}
    try:
        verdict = verify(coupling, alive, cut, level=recipe.verify, **asked)
        if small is not cut:
            after = verify(coupling, alive, small, level="run", **asked)
            verdict = replace(verdict, drift=after.drift)
    except VerifyError:
        report["verify"] = {**facts.verify_facts(None, recipe.verify), "passed": False}
        raise
    report["verify"] = facts.verify_facts(verdict, recipe.verify)
    report["latency"] = latency(graph, small, recipe)
    worst = max(verdict.drift.relative.values(), default=0.0)
    if worst > LARGE_DRIFT:
        journal.warn(
            f"the outputs drift by {worst:.2f} (relative L2 on random inputs): expect a loss of "
            "accuracy; remove less, or fine-tune the result"
        )
    if report["latency"]["speedup"] < 1.03:
        advice = "; --round-to auto keeps widths the kernels like"
        widths = "" if recipe.round_to == "auto" else advice
        journal.warn(
            f"not faster here ({report['latency']['speedup']:.2f}x): a model this small, or bound "
            f"by memory or by operators without weights, gains little{widths}"
        )


def latency(
    graph: Graph, small: ModelProto, recipe: Recipe, base_dir: Path | None = None
) -> dict[str, Any]:
    """Both models in turn, about a second in all; `base_dir` as for `verify`."""
    base = graph.source.base_dir
    pairs = ((graph.proto, base), (small, base_dir or base))
    sessions = [runtime.session(m, device=recipe.device, base_dir=b) for m, b in pairs]
    feeds = feeds_at(graph, recipe.seed)
    timing = measure(sessions, [feeds, feeds], runs=30, warmup=2, seconds=1.0)
    return {
        "provider": sessions[0].get_providers()[0],
        "threads": None,
        "runs": len(timing.millis),
        "before_ms": timing.medians[0],
        "after_ms": timing.medians[1],
        "speedup": timing.speedups[1],
    }


def sizes_note(graph: Graph, journal: Journal) -> None:
    """Say at which sizes MACs were counted, where the model leaves them open."""
    from spa.coupling.cost import batch_symbol

    others = {s: n for s, n in graph.dims.items() if s != batch_symbol(graph)}
    if others:
        sizes = ", ".join(f"{symbol}={size}" for symbol, size in others.items())
        journal.warn(f"MACs are counted at {sizes}; --input-shape sets other sizes")


def sign(small: ModelProto, graph: Graph, plan: Plan, *, refitted: bool) -> None:
    """Say in the model's metadata where it comes from, and carry the plan along."""
    packed = base64.b64encode(zlib.compress(plan.to_json().encode(), 9)).decode()
    entries = {
        "spa.version": __version__,
        "spa.plan_sha256": plan.sha256,
        "spa.source_sha256": graph.source.sha256,
        "spa.plan": packed,
    }
    if refitted:
        entries[REFITTED] = "true"
    kept = [p for p in small.metadata_props if p.key not in (*entries, REFITTED)]
    del small.metadata_props[:]
    small.metadata_props.extend(kept)
    for key, value in entries.items():
        small.metadata_props.add(key=key, value=value)


def is_refitted(model: ModelProto) -> bool:
    """Whether spa changed the weights that it kept, so that no masked original equals the model."""
    return any(entry.key == REFITTED for entry in model.metadata_props)


def carried_plan(model: ModelProto) -> Plan | None:
    """The plan in a pruned model's metadata, if there is one that can be read."""
    for entry in model.metadata_props:
        if entry.key == "spa.plan":
            try:
                packed = base64.b64decode(entry.value)
                text = zlib.decompressobj().decompress(packed, LARGEST_PLAN).decode()
                return Plan.from_json(text)
            except (ValueError, zlib.error):
                return None
    return None


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """The options that decide what is kept."""
    found = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name not in LATER}
    return {
        k: dict(v) if hasattr(v, "items") else list(v) if isinstance(v, tuple) else v
        for k, v in found.items()
    }


def deliver(outcome: Outcome, graph: Graph, output: str | os.PathLike[str], force: bool) -> None:
    """Write the model; it has passed everything."""
    saved = save(
        outcome.model, output, force=force, base_dir=outcome.base_dir, source=graph.source.path
    )
    report = outcome.report
    report["output"] |= {"path": str(Path(output)), "sha256": saved.sha256, "bytes": saved.bytes}
    before = report["input"]["bytes"]
    report["reduction"]["bytes"] = 1.0 - saved.bytes / before if before else None
