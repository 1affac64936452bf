"""Settled → Scores: every channel is judged, in the basis that suits a cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa.bases import Free, free, mixed, tensors_of
from spa.budgets.limits import limits
from spa.coupling import Coupling, analyse
from spa.criteria import Context as Judged
from spa.criteria import score as scored
from spa.graph import read
from spa.pipeline.bypass import to_cut
from spa.pipeline.context import Context
from spa.pipeline.values import Groups, Scores, Settled
from spa.plans import Plan

Rotated = tuple[Coupling, tuple[str, ...]]


def rotated(groups: Groups, settled: Settled, context: Context) -> Rotated:
    """The original with free bases changed, and the stored tensors that this has changed.

    The model itself, and nothing, where the recipe does not ask for it or no basis is free.
    """
    coupling, recipe = groups.original.coupling, settled.recipe
    if not (recipe.rotate and recipe.measures and recipe.repairs):
        return coupling, ()
    cut = [len(limit.steps) > 1 for limit in limits(coupling, recipe)]
    return _mixed(coupling, [p for p in free(coupling) if cut[p.group]], settled, context)


def as_rotated(groups: Groups, plan: Plan, settled: Settled, context: Context) -> Rotated:
    """The same, where a plan counts positions in another basis."""
    coupling, names = groups.original.coupling, frozenset(plan.rotated)
    parts = [p for p in free(coupling) if tensors_of(p, coupling.graph) <= names] if names else []
    return _mixed(coupling, parts, settled, context)


def _mixed(coupling: Coupling, parts: list[Free], settled: Settled, context: Context) -> Rotated:
    if not parts:
        return coupling, ()
    recipe, feeds = settled.recipe, settled.feeds
    with context.stage("rotate"):
        found = mixed(coupling, parts, feeds, recipe.device, recipe.batch_norm, context.counted)
        if found is None:
            context.note("no basis is changed, as rounding would show in the outputs")
            return coupling, ()
        model, names = found
        source = coupling.graph.source
        graph = read(model, input_shapes=recipe.input_shape, base_dir=source.base_dir)
        context.note(
            f"{len(parts)} groups of channels between linear maps take the basis in which few of "
            "them carry most (--set rotate=false leaves it)"
        )
        return analyse(replace(graph, source=source), heads=coupling.heads), names


def score(groups: Groups, base: Rotated, settled: Settled, context: Context) -> Scores:
    """Score every channel; the ratio has no say in it.

    Args:
        groups: the model.
        base: its original in the basis that suits a cut, see `rotated`.
        settled: the recipe, and inputs.
        context: of the run.
    """
    whole, names = base
    coupling, reference = to_cut(groups, whole, settled.recipe)
    values = scores_of(coupling, settled, context)
    if settled.recipe.measures and (moved := settled.feeds.recovered(coupling.graph)):
        context.note(
            "statistics of BatchNormalizations that were folded away are recovered at the outputs "
            f"of {len(moved)} convolutions (--set batch-norm=false measures without)"
        )
    return Scores(coupling, values, names, reference)


def scores_of(coupling: Coupling, settled: Settled, context: Context) -> NDArray[np.float64]:
    """One number per unit, float64 `[labels]`."""
    recipe = settled.recipe
    with context.stage("score"):
        judged = Judged(
            coupling,
            settled.feeds if recipe.measures else (),
            seed=recipe.seed,
            aggregate=recipe.aggregate,
            device=recipe.device,
            batch_norm=recipe.batch_norm,
            callback=context.callback,
            labels=settled.feeds.labels if recipe.measures else None,
        )
        saliency, normalize = recipe.saliency, recipe.normalize
        return scored(judged, recipe.scorer, saliency=saliency, normalize=normalize)
