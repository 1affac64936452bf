"""Latency as a budget: measured here, kept for the next run, told in the report."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa.budgets import allocate, demand
from spa.budgets.limits import limits
from spa.budgets.reach import deepest, largest_rest
from spa.coupling import Coupling, misplaced
from spa.coupling.cost import Cost
from spa.coupling.model import KeptUnits
from spa.errors import ReadError, TargetError
from spa.latency import Store, Table, Whole, facts, machine, milder, out_of_reach, reach, stopwatch
from spa.latency.clock import Clock
from spa.latency.menu import menus
from spa.pipeline.context import Context
from spa.pipeline.values import Settled
from spa.recipe import Recipe
from spa.reports.schema import LatencyBudget
from spa.rewrite import rewrite
from spa.storage import cache_folder

STAGE = "measure"
DOUBT = 0.1  # of the whole


def allocated(
    coupling: Coupling, scores: NDArray[np.float64], settled: Settled, context: Context
) -> tuple[KeptUnits, LatencyBudget | None]:
    """Choose what is kept, bool `[labels]` by unit; and, where time is asked for, how it was met.

    Raises:
        TargetError: the target is out of reach.
        ReadError: the model cannot be run, so that its time cannot be measured.
    """
    recipe, whole = settled.recipe, settled.whole
    if whole is None:
        return allocate(coupling, scores, recipe), None
    with context.stage(STAGE):
        table = _table(recipe, coupling, context)
        reached = reach(coupling, scores, recipe, table, whole)
    met = facts(reached, recipe, table, whole) if reached.aim.measured is not None else None
    return reached.aim.kept, cast("LatencyBudget | None", met)


def times_of_nodes(coupling: Coupling, settled: Settled, context: Context) -> dict[int, float]:
    """What the pieces of the whole model take, as shares of it, by the node that each begins with.

    Raises:
        ReadError: the model cannot be run.
    """
    recipe, whole = settled.recipe, settled.whole
    assert whole is not None  # time is the budget
    surfaces = _table(recipe, coupling, context).surfaces(menus(coupling, limits(coupling, recipe)))
    scale = Clock(coupling, surfaces, whole.fastest, whole.overhead).scale / whole.fastest
    return {s.piece.nodes[0]: float(s.times[(-1,) * s.times.ndim]) * scale for s in surfaces}


def _table(recipe: Recipe, coupling: Coupling, context: Context) -> Table:
    """Times of pieces on this machine, as far as they are known."""
    threads = recipe.threads or 0
    store = Store(machine(recipe.device, threads), cache_folder())
    return Table(coupling, store, stopwatch(recipe.device, threads), context.callback)


def reachable(
    coupling: Coupling, recipe: Recipe, context: Context, original: Coupling | None = None
) -> Whole | None:
    """Refuse, before anything is scored, what no scores could reach.

    Time is no sum: the deepest cut is built once and timed, and as a cut that goes less deep may
    still be a little faster, what misses the target by less than `DOUBT` goes on.  Where `coupling`
    is without branches, it is timed beside the `original`.

    Returns:
        The original, ready to be timed, where time is the budget.

    Raises:
        TargetError: says what can be removed at most, and what holds the largest part of the rest.
        ReadError: the model cannot be run, so that its time cannot be measured.
    """
    short = None if original in (None, coupling) else coupling.graph.proto
    if recipe.deepens:  # what branches give is not known yet
        return _whole(original or coupling, recipe, short) if recipe.of == "latency" else None
    if recipe.of != "latency" or short is None:
        demand(coupling, recipe)
    if recipe.of != "latency":
        return None
    with context.stage(STAGE):
        whole = _whole(original or coupling, recipe, short)
        if whole.left <= 1 - recipe.share:
            return whole
        if short is not None:
            demand(coupling, recipe)
        counts = deepest(coupling, recipe)
        kept = coupling.everything()
        for group, count in zip(coupling.groups, counts, strict=True):
            kept[group.cells[:, count:]] = False
        if misplaced(coupling, kept):
            return whole
        most = whole.removed(rewrite(coupling, kept, checked=True))
    if most < recipe.share - DOUBT:
        rest = largest_rest(coupling, recipe, Cost(coupling), counts)
        way_out = rest.way_out.replace("lower --ratio", milder(most, recipe))
        raise TargetError(
            f"{out_of_reach(most, recipe)} (in the deepest cut, of the MACs {rest}); {way_out}, or "
            "count --of macs"
        )
    return whole


def _whole(coupling: Coupling, recipe: Recipe, short: ModelProto | None) -> Whole:
    try:
        return Whole(coupling, recipe.device, recipe.threads or 0, recipe.seed, short)
    except ReadError as error:
        raise ReadError(
            f"--of latency must run the model, and that fails: {error}; count --of macs"
        ) from error
