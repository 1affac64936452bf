"""Latency as a budget: measured here, kept for the next run, told in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.budgets import allocate, demand
from spa.budgets.reach import deepest, largest_rest
from spa.coupling import Coupling, misplaced
from spa.coupling.cost import Cost
from spa.errors import ReadError, TargetError
from spa.latency import Store, Table, Whole, facts, machine, reach, stopwatch
from spa.pipeline.journal import Journal
from spa.recipe import Recipe
from spa.rewrite import rewrite
from spa.storage import cache_folder

STAGE = "measure"
DOUBT = 0.1  # of the whole


def allocated(
    coupling: Coupling, scores: NDArray[np.float64], recipe: Recipe, journal: Journal
) -> NDArray[np.bool_]:
    """Choose what is kept, bool `[labels]` by unit; fills `latency_budget` where time is asked for.

    Raises:
        TargetError: the target is out of reach.
        ReadError: the model cannot be run, so that its time cannot be measured.
    """
    if recipe.of != "latency":
        return allocate(coupling, scores, recipe)
    with journal.stage(STAGE):
        threads = recipe.threads or 0
        whole = _whole(coupling, recipe, journal)
        store = Store(machine(recipe.device, threads), cache_folder())
        table = Table(coupling, store, stopwatch(recipe.device, threads), journal.tell)
        reached = reach(coupling, scores, recipe, table, whole)
    if reached.aim.measured is not None:
        journal.report["latency_budget"] = facts(reached, recipe, table, whole)
    return reached.aim.alive


def _whole(coupling: Coupling, recipe: Recipe, journal: Journal) -> Whole:
    """The unpruned model, timed once."""
    if journal.whole is None:
        try:
            journal.whole = Whole(coupling, recipe.device, recipe.threads or 0, recipe.seed)
        except ReadError as error:
            raise ReadError(
                f"--of latency must run the model, and that fails: {error}; count --of macs"
            ) from error
    return journal.whole


def reachable(coupling: Coupling, recipe: Recipe, journal: Journal) -> None:
    """Refuse, before anything is scored, what no scores could reach.

    Time is no sum: the deepest cut is built once and timed, and as a cut that goes less deep may
    still be a little faster, what misses the target by less than `DOUBT` goes on.

    Raises:
        TargetError: says what can be removed at most, and what holds the largest part of the rest.
    """
    demand(coupling, recipe)
    if recipe.of != "latency":
        return
    with journal.stage(STAGE):
        kept = deepest(coupling, recipe)
        alive = coupling.everything()
        for group, count in zip(coupling.groups, kept, strict=True):
            alive[group.cells[:, count:]] = False
        if misplaced(coupling, alive):
            return
        small = rewrite(coupling, alive, checked=True)
        most = _whole(coupling, recipe, journal).removed(small)
    if most < recipe.ratio - DOUBT:
        rest = largest_rest(coupling, recipe, Cost(coupling), kept)
        raise TargetError(
            f"at most {max(0, math.floor(1000 * most)) / 10:g} % of the latency can be removed on "
            f"this machine, as measured, not {100 * recipe.ratio:g} % (in the deepest cut, of the "
            f"MACs {rest}); {rest.way_out}, or count --of macs"
        )


def saved(report: Mapping[str, Any]) -> dict[str, float]:
    """The share of the time that is gone, for the section `reduction`; nothing if not measured."""
    budget = report.get("latency_budget")
    return {"latency": budget["measured"]} if budget else {}
