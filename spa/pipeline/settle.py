"""What a recipe leaves open is decided here, before anything is scored, and nowhere else.

Whether the model can be measured says which scorer "auto" is, and whether anything is refitted; so
its inputs are made, and what scoring would run is run once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from spa import runtime
from spa.coupling import Coupling
from spa.coupling.quantised import is_mostly_quantised
from spa.errors import ReadError, UsageError
from spa.executor.samples import check_room
from spa.executor.sites import sites_of
from spa.executor.stream import Stream
from spa.graph import Graph
from spa.pipeline.context import Context
from spa.pipeline.inputs import feeds_from, probe_of
from spa.pipeline.invert import improved
from spa.pipeline.labels import known_labels
from spa.pipeline.timed import reachable
from spa.pipeline.values import Groups, Settled
from spa.plans import Plan
from spa.probes import Probe
from spa.recipe import CHOICES, Heads, Recipe
from spa.registry import CRITERIA
from spa.rules import trait_of
from spa.validate.runs import session_of

MEASURING = "obspa"  # what "auto" is where the model can be measured
PLAIN = "l2"  # and where it cannot


def settle(groups: Groups, recipe: Recipe, context: Context, plan: Plan | None = None) -> Settled:
    """Decide what the recipe leaves open, and make the inputs.

    With scorer "auto" a model that cannot be run on made inputs is judged by its weights alone and
    only cut; a plan is only carried out then.  With a scorer or a repair that was named, or inputs
    that were given, that is an error.

    Args:
        groups: the analysed model; inputs are made for its original.
        recipe: what a person asked for.
        context: of the run.
        plan: the choice to follow, if it is made already.

    Raises:
        TargetError: no choice reaches the budget.
        ReadError: the model cannot be measured as asked.
        UsageError: the inputs make no sense.
    """
    if plan is not None:
        asked, timed = as_planned(recipe, plan), None
        measured = asked.repairs or bool(plan.rotated)
    else:
        _check_gradients(recipe)
        whole = groups.original.coupling
        asked, timed = recipe, reachable(groups.coupling, recipe, context, whole)
        measured = asked.measures or asked.repairs
        if asked.measures:
            _refittable(groups.coupling)
            asked = replace(asked, scorer=MEASURING) if asked.scorer == "auto" else asked
    if measured or asked.verify != "none":
        check_room(groups.original.graph, asked.memory)
    settled = Settled(asked, whole=timed)
    if measured:
        try:
            settled = _measured(settled, groups.original, context)
        except ReadError as error:
            plain = _plain(recipe, asked, plan)
            if plain is None:
                raise
            without = "nothing is refitted"
            context.warn(
                f"channels are judged by {PLAIN} and {without}: {error}"
                if plan is None
                else f"{without}, as the model cannot be measured: {error}"
            )
            settled = replace(settled, recipe=plain, trouble=str(error))
    return judged(settled, groups.original, context)


def _check_gradients(recipe: Recipe) -> None:
    """Raise UsageError where gradients are asked for without PyTorch, or labels without them."""
    if recipe.differentiates:
        import spa.torch

        _ = spa.torch.load
    elif recipe.labels is not None and not recipe.tunes:
        names = ", ".join(n for n, each in CRITERIA.own.items() if each.known.facts["gradients"])
        raise UsageError(
            f"--labels are for scorers of gradients ({names}) and for --tune; choose one of them "
            "with --scorer, or leave the labels out"
        )


def judged(settled: Settled, groups: Groups, context: Context) -> Settled:
    """The same with a probe to judge the result on, where it will be run.

    Raises:
        ReadError: what was given is damaged.
    """
    if settled.recipe.verify == "none" or settled.probe or settled.trouble:
        return settled
    try:
        with context.stage("probe"):
            return replace(settled, probe=probe_of(groups, settled.recipe, context))
    except ReadError as error:
        if settled.recipe.calib is not None:
            raise
        return replace(settled, trouble=str(error))


def heads_of(plan: Plan) -> Heads:
    """How finely a plan cuts attention."""
    said = plan.recipe.get("heads")
    return cast("Heads", said if said in CHOICES["heads"] else "free")


def as_planned(recipe: Recipe, plan: Plan) -> Recipe:
    """The recipe with the scorer of a plan, and its repair where the recipe leaves that open."""
    scorer, saliency = plan.recipe.get("scorer"), plan.recipe.get("saliency")
    known = isinstance(scorer, str) and scorer in CRITERIA
    measured = known and CRITERIA.says(str(scorer), "measures")
    taken: dict[str, Any] = {"scorer": scorer if measured else PLAIN}
    taken["saliency"] = saliency if isinstance(saliency, str) else None
    if recipe.reconstruct is None and recipe.repair == "auto":
        taken["reconstruct"] = plan.recipe.get("reconstruct")
        taken["repair"] = plan.recipe.get("repair", "auto")
    return replace(recipe, **taken).validate()


def _plain(recipe: Recipe, asked: Recipe, plan: Plan | None) -> Recipe | None:
    """The recipe for a model that cannot be measured; None where a person asked for more."""
    if recipe.calib is not None:
        return None
    if plan is not None:
        open_ = recipe.reconstruct is None and recipe.repair == "auto" and not plan.rotated
        return replace(asked, scorer=PLAIN, repair="none") if open_ else None
    open_ = recipe.scorer == "auto" and not recipe.reconstruct
    return replace(recipe, scorer=PLAIN) if open_ and recipe.repair in ("auto", "none") else None


def _refittable(coupling: Coupling) -> None:
    """Raise ReadError where scores would assume a refit that integers do not allow."""
    if is_mostly_quantised(coupling):
        raise ReadError(
            "the weights of this model are quantised already, so that nothing can make up for what "
            "is removed: prune the model it was made from and quantise the result, or choose "
            f"--scorer {PLAIN}, which only cuts, at a large loss of accuracy"
        )


def _measured(settled: Settled, groups: Groups, context: Context) -> Settled:
    """With the inputs to score and fit on; raises ReadError where the model gives no numbers."""
    recipe = settled.recipe
    with context.stage("probe"):
        graph, base = groups.graph, groups.graph.source.base_dir
        # Before any input is made: a model that onnxruntime refuses is no matter of inputs.
        loaded = session_of(graph.proto, optimize=False, device=recipe.device, base_dir=base)
        probe = probe_of(groups, recipe, context)
        if not probe.feeds():
            raise ReadError("a model without inputs cannot be measured; choose --scorer l2")
        _answers(groups.coupling, *loaded, probe, recipe)
        feeds = feeds_from(probe, graph, recipe, context, _labels(groups, recipe, probe, context))
    better = improved(feeds, probe, groups, recipe, context)
    if better is feeds:
        recipe = replace(recipe, invert="off")
    return replace(settled, recipe=recipe, probe=probe, feeds=better)


def _labels(
    groups: Groups, recipe: Recipe, probe: Probe, context: Context
) -> NDArray[np.int64] | None:
    """Classes of all rows, for a scorer that can use them."""
    if not recipe.differentiates:
        return None
    found = known_labels(recipe, groups.given, probe.available)
    if found is None:
        context.note("gradients are those of targets about the model's own outputs: no labels")
        return None
    labels, source = found
    context.note(f"gradients are those of the cross-entropy of {source}")
    return labels


def _answers(
    coupling: Coupling,
    loaded: runtime.Session,
    unknown: Sequence[NodeProto],
    probe: Probe,
    recipe: Recipe,
) -> None:
    """Raise ReadError where what will be measured cannot be run, or no number is finite."""
    graph, feeds = coupling.graph, probe.feeds()
    values: Collection[Any] = ()
    with suppress(ReadError):
        values = () if unknown else runtime.run(loaded, feeds).values()
    if not values:  # one odd node at the end need not stand in the way
        Stream(graph.proto, graph, [feeds], recipe.device).run_to(_last(graph, coupling))
    floats = [v for v in values if isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.size]
    if floats and not any(np.isfinite(v).any() for v in floats):
        raise ReadError(
            "the model gives no finite numbers on inputs made for it; give some with --calib, or "
            "choose --scorer l2"
        )


def _last(graph: Graph, coupling: Coupling) -> int:
    """How many nodes are run to measure what enters every site and every normalization."""
    sites = [site.node.index for site in sites_of(coupling)]
    norms = [node.index for node in graph.nodes if trait_of(node).statistics is not None]
    return max((*sites, *norms), default=0)
