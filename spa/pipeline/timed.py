"""Latency as a budget: measured here, kept for the next run, told in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.budgets import allocate
from spa.coupling import Coupling
from spa.errors import ReadError
from spa.latency import Store, Table, Whole, cache_folder, facts, machine, reach, stopwatch
from spa.pipeline.journal import Journal
from spa.recipe import Recipe

STAGE = "measure"


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
        if journal.whole is None:
            try:
                journal.whole = Whole(coupling, recipe.device, threads, recipe.seed)
            except ReadError as error:
                raise ReadError(
                    f"--of latency must run the model, and that fails: {error}; count --of macs"
                ) from error
        store = Store(machine(recipe.device, threads), cache_folder())
        table = Table(coupling, store, stopwatch(recipe.device, threads), journal.tell)
        reached = reach(coupling, scores, recipe, table, journal.whole)
    if reached.aim.measured is not None:
        journal.report["latency_budget"] = facts(reached, recipe, table, journal.whole)
    return reached.aim.alive


def saved(report: Mapping[str, Any]) -> dict[str, float]:
    """The share of the time that is gone, for the section `reduction`; nothing if not measured."""
    budget = report.get("latency_budget")
    return {"latency": budget["measured"]} if budget else {}
