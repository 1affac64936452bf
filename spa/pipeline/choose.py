"""Scores → Choice: what goes, from a budget, in one round or several, or from a plan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.config import as_json
from spa.coupling import Coupling, analyse, misplaced, refine
from spa.coupling.model import KeptUnits
from spa.errors import TargetError
from spa.graph import read
from spa.pipeline.bypass import to_cut
from spa.pipeline.context import Context
from spa.pipeline.repair import refitted
from spa.pipeline.score import as_rotated, scores_of
from spa.pipeline.timed import allocated
from spa.pipeline.values import Choice, Groups, Scores, Settled
from spa.plans import Plan, place, plan_of
from spa.recipe import GATES, Recipe
from spa.reports.schema import LatencyBudget
from spa.rewrite import rewrite
from spa.trace import Param

Values = NDArray[np.float64]
ROUNDS = 30  # how often a choice that does not fit may be made again with less freedom
LATER = frozenset(("device", "threads", "verify", "strict", "check", *GATES))
"""Fields of a recipe that have no say in what is kept."""


def choose(scores: Scores, settled: Settled, context: Context) -> Choice:
    """Allocate; in several rounds, what is left is refitted and scored again.

    Raises:
        TargetError: no choice reaches the budget.
    """
    recipe = settled.recipe
    for turn in range(1, recipe.steps + 1):
        share = 1 - (1 - recipe.share) ** (turn / recipe.steps)
        part = settled if turn == recipe.steps else settled.at(share)
        scores, kept, latency = _allocated(scores, part, context)
        if turn < recipe.steps:
            values = _again(scores, kept, part, context)
            scores = replace(scores, values=values)
    coupling = scores.coupling
    plan = plan_of(coupling, kept, recipe_facts(recipe), scores.rotated)
    return Choice(coupling, kept, plan, latency, scores.reference)


def follow(groups: Groups, plan: Plan, settled: Settled, context: Context) -> Choice:
    """The choice a plan makes.

    Raises:
        UsageError: the plan does not fit the model.
    """
    base, names = as_rotated(groups, plan, settled, context)
    coupling, reference = to_cut(groups, base, settled.recipe)
    with context.stage("allocate"):
        kept, missing = place(coupling, plan)
    if missing:
        context.warn(
            f"{len(missing)} tensors of the plan are not in this model (such as {missing[0]}); "
            "their channels follow from the others"
        )
    written = plan_of(coupling, kept, plan.recipe, names)
    return Choice(coupling, kept, written, reference=reference)


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """The options that decide what is kept."""
    told = {name: value for name, value in as_json(recipe).items() if name not in LATER}
    if not recipe.measures or told["invert"] == "off":
        del told["invert"]  # which then had no say
    if not recipe.tunes:
        del told["tune"]  # which has none in any case; what was asked for is for whoever repeats it
    return told


def _allocated(
    scores: Scores, settled: Settled, context: Context
) -> tuple[Scores, KeptUnits, LatencyBudget | None]:
    """Where a choice does not fit, take away that freedom, score and choose again."""
    for _ in range(ROUNDS):
        with context.stage("allocate"):
            kept, latency = allocated(scores.coupling, scores.values, settled, context)
            errors = misplaced(scores.coupling, kept)
        if not errors:
            return scores, kept, latency
        with context.stage("couple"):
            coupling = refine(scores.coupling, errors)
        values = scores_of(coupling, settled, context)
        scores = replace(scores, coupling=coupling, values=values)
    raise TargetError(
        f"no choice of channels fits at node {errors[0].node.name} ({errors[0]}); "
        "keep that part with --ignore and report this model"
    )


def _again(scores: Scores, kept: KeptUnits, settled: Settled, context: Context) -> Values:
    """Scores of what is left, taken on the model that is left."""
    coupling = scores.coupling
    with context.stage("rewrite"):
        small = rewrite(coupling, kept, checked=True)
    if settled.recipe.repairs:
        small = refitted(coupling, kept, small, settled, context, scores.reference)[0]
    left = _left(coupling, small, settled, context)
    found = scores_of(left, settled, context)
    return carried(coupling, kept, left, scores.values, found)


def _left(coupling: Coupling, small: Any, settled: Settled, context: Context) -> Coupling:
    """The analysis of what is left."""
    with context.stage("couple"):
        base = coupling.graph.source.base_dir
        graph = read(small, input_shapes=settled.recipe.input_shape, base_dir=base)
        return analyse(graph, heads=coupling.heads)


def carried(
    coupling: Coupling, kept: KeptUnits, left: Coupling, old: Values, new: Values
) -> Values:
    """Scores of the original's units from those of the units that are left.

    Args:
        coupling: the analysed original.
        kept: what is left of it, bool `[labels]` by unit.
        left: the analysis of the model that is left.
        old: scores by unit of `coupling`, kept where nothing better is known.
        new: scores by unit of `left`.

    Returns:
        Scores by unit of `coupling`, the mean where one unit is several in `left`; what is gone
        already goes first.
    """
    total, count = np.zeros(len(old)), np.zeros(len(old))
    uses = _uses(left)
    for tensor, params in _uses(coupling).items():
        for before, after in zip(params, uses.get(tensor, ()), strict=False):
            for (_, index_map), (_, rest) in zip(before.maps, after.maps, strict=False):
                units, others = coupling.root[index_map.ids].ravel(), left.root[rest.ids].ravel()
                units = units[kept[units]]
                if len(units) == len(others):
                    both = (units != 0) & (others != 0)
                    total += np.bincount(units[both], new[others[both]], len(old))
                    count += np.bincount(units[both], minlength=len(old))
    result = np.where(count > 0, total / np.maximum(count, 1), old)
    for group in coupling.groups:
        gone = group.cells[~kept[group.cells]]
        result[gone] = min(0.0, float(result[group.cells].min()))
    return result


def _uses(coupling: Coupling) -> dict[str, list[Param]]:
    """Every use of every stored tensor, in the order of the graph."""
    found: dict[str, list[Param]] = defaultdict(list)
    for key in sorted(coupling.notes.params):
        param = coupling.notes.params[key]
        if param.tensor is not None:
            found[param.tensor].append(param)
    return found
