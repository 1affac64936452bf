"""`prune` and `apply`: from a model to a smaller, verified one."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa._version import __version__
from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost, reduction, stored
from spa.coupling.rows import batch_symbols
from spa.errors import ReadError
from spa.events import Tell, quiet
from spa.graph import Graph, read, save
from spa.graph.count import count_ops
from spa.graph.distinct import files_of
from spa.pipeline import facts
from spa.pipeline.check import check
from spa.pipeline.choose import PLAIN, choose, follow, measuring, rank
from spa.pipeline.gates import check_gates, score_original
from spa.pipeline.inputs import check_inputs
from spa.pipeline.journal import Journal
from spa.pipeline.outcome import Outcome
from spa.pipeline.read import check_output, files_read
from spa.pipeline.refit import refitted
from spa.pipeline.rotate import as_rotated
from spa.pipeline.staged import staged
from spa.pipeline.timed import reachable, saved
from spa.pipeline.written import PLAN, written
from spa.plans import Plan, plan_of
from spa.probes import Held
from spa.recipe import CHOICES, GATES, Heads, Recipe
from spa.registry import CRITERIA
from spa.rewrite import rewrite

LATER = frozenset(("device", "threads", "verify", "strict", "check", *GATES))
"""Fields of a recipe that have no say in what is kept."""

REFITTED = "spa.reconstructed"
LARGEST_PLAN = 1 << 28  # bytes that a plan in a model's metadata may unfold to
Alive = NDArray[np.bool_]


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
    journal = Journal("prune", tell, output)
    with journal.written():
        recipe.validate()
        check_output(model, recipe, None if dry_run else output, plan)
        given = Plan.load(plan) if isinstance(plan, (str, os.PathLike)) else plan
        if given is not None:
            recipe = replace(recipe, heads=heads_of(given))
        coupling = couple(model, recipe, journal)
        if given is None:
            reachable(coupling, recipe, journal)
        score_original(coupling.graph, recipe, journal)
        if given is None:
            outcome = _scored(coupling, recipe, journal)
        else:
            outcome = _planned(coupling, given, recipe, journal)
        outcome = replace(outcome, reads=(*outcome.reads, *files_of([plan])))
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
    journal = Journal("apply", tell, output)
    with journal.written():
        recipe.validate()
        check_output(model, recipe, output, plan)
        given = plan if isinstance(plan, Plan) else Plan.load(plan)
        recipe = replace(recipe, heads=heads_of(given))
        coupling = couple(model, recipe, journal)
        score_original(coupling.graph, recipe, journal)
        outcome = _planned(coupling, given, recipe, journal)
        outcome = replace(outcome, reads=(*outcome.reads, *files_of([plan])))
        if output is not None:
            deliver(outcome, coupling.graph, output, force)
    journal.succeed()
    return outcome


def couple(model: Any, recipe: Recipe, journal: Journal) -> Coupling:
    """Read and analyse; fills `input` and `frozen`."""
    with journal.stage("load"):
        graph = read(model, input_shapes=recipe.input_shape)
        check_inputs(graph, recipe, journal)
    if graph.source.unlisted:
        journal.note(
            f"{graph.source.unlisted} weights that the file lists as inputs are taken for weights, "
            "as most are listed; the result does not list them"
        )
    with journal.stage("couple"):
        coupling = analyse(graph, heads=recipe.heads, tell=journal.tell)
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


@dataclass(frozen=True, eq=False)
class Made:
    """What was done: the original, the model that was cut (perhaps in another basis), and results.

    `cut` has lost what is not `alive`; in `small` what stays is refitted as well.
    """

    original: Coupling
    coupling: Coupling
    alive: Alive
    cut: ModelProto
    small: ModelProto

    def plan(self, recipe: Recipe, rotated: tuple[str, ...]) -> Plan:
        """What was kept, as a plan."""
        return plan_of(self.coupling, self.alive, recipe_facts(recipe), rotated)


def _scored(coupling: Coupling, recipe: Recipe, journal: Journal) -> Outcome:
    """Choose what goes, and take it out."""

    def work(settled: Recipe) -> tuple[Made, tuple[str, ...]]:
        ranked = rank(coupling, settled, journal)
        chosen, alive = choose(ranked, settled, journal)
        return make(coupling, chosen, alive, settled, journal), ranked.rotated

    (made, names), recipe = measuring(recipe, coupling, journal, work)
    return finish(made, made.plan(recipe, names), recipe, journal)


def make(
    original: Coupling, chosen: Coupling, alive: Alive, recipe: Recipe, journal: Journal
) -> Made:
    """Cut what was chosen, and refit what stays."""
    cut = _cut(chosen, alive, journal, checked=True)
    small = repair(chosen, alive, cut, recipe, journal)
    return Made(original, chosen, alive, cut, small)


def _planned(coupling: Coupling, plan: Plan, recipe: Recipe, journal: Journal) -> Outcome:
    """Take out what a plan says; unless told otherwise, refit as those who made it did."""
    left_open = recipe.reconstruct is None and recipe.repair == "auto"
    recipe = as_planned(recipe, plan)
    turned, names = as_rotated(coupling, plan, recipe, journal)
    alive = follow(turned, plan, journal)
    cut = small = _cut(turned, alive, journal)
    try:
        small = repair(turned, alive, cut, recipe, journal)
    except ReadError as error:
        if not left_open or recipe.calib is not None:
            raise
        journal.warn(f"nothing is refitted, as the model cannot be measured: {error}")
    made = plan_of(turned, alive, plan.recipe, names)
    return finish(Made(coupling, turned, alive, cut, small), made, recipe, journal)


def heads_of(plan: Plan) -> Heads:
    """How finely a plan cuts attention."""
    said = plan.recipe.get("heads")
    return cast("Heads", said if said in CHOICES["heads"] else "free")


def as_planned(recipe: Recipe, plan: Plan) -> Recipe:
    """The recipe with the scorer of a plan, and its repair where the recipe leaves that open."""
    scorer, saliency = plan.recipe.get("scorer"), plan.recipe.get("saliency")
    known = isinstance(scorer, str) and scorer in CRITERIA.own
    measured = known and CRITERIA.says(str(scorer), "measures")
    taken: dict[str, Any] = {"scorer": scorer if measured else PLAIN}
    taken["saliency"] = saliency if isinstance(saliency, str) else None
    if recipe.reconstruct is None and recipe.repair == "auto":
        taken["reconstruct"] = plan.recipe.get("reconstruct")
        taken["repair"] = plan.recipe.get("repair", "auto")
    return replace(recipe, **taken).validate()


def _cut(coupling: Coupling, alive: Alive, journal: Journal, checked: bool = False) -> ModelProto:
    with journal.stage("rewrite"):
        return rewrite(coupling, alive, checked=checked)


def repair(
    coupling: Coupling, alive: Alive, cut: ModelProto, recipe: Recipe, journal: Journal
) -> ModelProto:
    """Refit what stays, where the recipe asks for it; `cut` itself where it does not."""
    if not recipe.repairs:
        if recipe.measures:
            journal.warn(
                f"scores of {recipe.scorer} assume that the rest makes up for the loss, and "
                "nothing is refitted: leave out --no-reconstruct, or choose --scorer l2"
            )
        return cut
    small, done = refitted(coupling, alive, cut, recipe, journal)
    dropped = [site.node for site in done if not site.kept]
    if dropped:
        journal.warn(
            f"reconstruction did not help at {len(dropped)} of {len(done)} sites (such as "
            f"{dropped[0]}): their weights were only cut"
        )
    return small


def finish(
    made: Made, plan: Plan, recipe: Recipe, journal: Journal, *, weigh: bool = False
) -> Outcome:
    """Sign, account, verify, measure, and pass the gates; `weigh` asks for the file's size."""
    coupling, graph, small = made.coupling, made.original.graph, made.small
    report, cost = journal.report, Cost(coupling)
    before, after = Cost(made.original)(made.original.everything()), cost(made.alive)
    after = replace(after, params=stored(small))
    sign(small, graph, plan, refitted=small is not made.cut or bool(plan.rotated))
    file = written(small, graph, journal)
    report["output"] = facts.output_facts(small, after)
    report["reduction"] = {**reduction(before, after), "bytes": None, **saved(report)}
    report["groups"] = facts.group_facts(coupling, made.alive, cost)
    report["ops"] = {"before": dict(graph.source.ops), "after": count_ops(file)}
    sizes_note(graph, journal)
    if recipe.verify != "none":
        with journal.stage("verify"):
            check(made.original, coupling, made.alive, made.cut, small, file, recipe, journal)
    base = graph.source.base_dir
    check_gates(journal, recipe, partial(staged, file, base, journal.name), weigh=weigh)
    return Outcome(file, plan, report, 0, base, files_read(graph, recipe))


def sizes_note(graph: Graph, journal: Journal) -> None:
    """Say at which sizes MACs were counted, where the model leaves them open."""
    others = {s: n for s, n in graph.dims.items() if s not in batch_symbols(graph)}
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
        PLAN: packed,
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
        if entry.key == PLAN:
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
    return {name: _told(value) for name, value in found.items()}


def _told(value: Any) -> Any:
    """An option as JSON has it."""
    if isinstance(value, Held):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def deliver(outcome: Outcome, graph: Graph, output: str | os.PathLike[str], force: bool) -> None:
    """Write the model; it has passed everything."""
    saved = save(
        outcome.model,
        output,
        force=force,
        base_dir=outcome.base_dir,
        source=graph.source.path,
        reads=outcome.reads,
    )
    report = outcome.report
    report["output"] |= {"path": str(Path(output)), "sha256": saved.sha256, "bytes": saved.bytes}
    before = report["input"]["bytes"]
    report["reduction"]["bytes"] = 1.0 - saved.bytes / before if before else None
