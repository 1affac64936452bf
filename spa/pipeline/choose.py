"""Scores → Choice: what goes, from a budget, in one round or several, or from a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.config import as_json
from spa.coupling import Coupling, analyse, misplaced, refine
from spa.errors import TargetError
from spa.graph import read
from spa.pipeline.carry import carried
from spa.pipeline.context import Context
from spa.pipeline.repair import refitted
from spa.pipeline.rotate import as_rotated
from spa.pipeline.score import scores_of
from spa.pipeline.timed import allocated
from spa.pipeline.values import Alive, Choice, Groups, Scores, Settled
from spa.plans import Plan, place, plan_of
from spa.recipe import GATES, Recipe
from spa.reports.schema import LatencyBudget
from spa.rewrite import rewrite

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
        share = 1 - (1 - recipe.ratio) ** (turn / recipe.steps)
        part = settled if turn == recipe.steps else settled.at(share)
        scores, alive, latency = _allocated(scores, part, context)
        if turn < recipe.steps:
            values = _again(scores, alive, part, context)
            scores = replace(scores, values=values)
    coupling = scores.coupling
    plan = plan_of(coupling, alive, recipe_facts(recipe), scores.rotated)
    return Choice(coupling, alive, plan, latency)


def follow(groups: Groups, plan: Plan, settled: Settled, context: Context) -> Choice:
    """The choice a plan makes.

    Raises:
        UsageError: the plan does not fit the model.
    """
    coupling, names = as_rotated(groups, plan, settled, context)
    with context.stage("allocate"):
        alive, missing = place(coupling, plan)
    if missing:
        context.warn(
            f"{len(missing)} tensors of the plan are not in this model (such as {missing[0]}); "
            "their channels follow from the others"
        )
    return Choice(coupling, alive, plan_of(coupling, alive, plan.recipe, names))


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """The options that decide what is kept."""
    return {name: value for name, value in as_json(recipe).items() if name not in LATER}


def _allocated(
    scores: Scores, settled: Settled, context: Context
) -> tuple[Scores, Alive, LatencyBudget | None]:
    """Where a choice does not fit, take away that freedom, score and choose again."""
    for _ in range(ROUNDS):
        with context.stage("allocate"):
            alive, latency = allocated(scores.coupling, scores.values, settled, context)
            errors = misplaced(scores.coupling, alive)
        if not errors:
            return scores, alive, latency
        with context.stage("couple"):
            coupling = refine(scores.coupling, errors)
        scores = Scores(coupling, scores_of(coupling, settled, context), scores.rotated)
    raise TargetError(
        f"no choice of channels fits at node {errors[0].node.name} ({errors[0]}); "
        "keep that part with --ignore and report this model"
    )


def _again(scores: Scores, alive: Alive, settled: Settled, context: Context) -> NDArray[np.float64]:
    """Scores of what is left, taken on the model that is left."""
    coupling = scores.coupling
    with context.stage("rewrite"):
        small = rewrite(coupling, alive, checked=True)
    if settled.recipe.repairs:
        small = refitted(coupling, alive, small, settled, context)[0]
    left = _left(coupling, small, settled, context)
    found = scores_of(left, settled, context)
    return carried(coupling, alive, left, scores.values, found)


def _left(coupling: Coupling, small: Any, settled: Settled, context: Context) -> Coupling:
    """The analysis of what is left."""
    with context.stage("couple"):
        base = coupling.graph.source.base_dir
        graph = read(small, input_shapes=settled.recipe.input_shape, base_dir=base)
        return analyse(graph, heads=coupling.heads)
