"""`inspect` and `plan`: the first stages alone; nothing is run and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spa.budgets.limits import keeper, limits
from spa.coupling import Coupling
from spa.coupling.cost import Cost, reduction
from spa.events import Tell, quiet
from spa.pipeline import facts
from spa.pipeline.choose import choose, measuring, rank
from spa.pipeline.journal import Journal
from spa.pipeline.prune import couple, recipe_facts, sizes_note
from spa.pipeline.timed import reachable, saved
from spa.plans import Plan, plan_of
from spa.recipe import Recipe


def inspect(model: Any, recipe: Recipe, tell: Tell = quiet) -> dict[str, Any]:
    """The groups of a model, what each costs, and what is frozen and why.

    Groups that an option keeps whole count as frozen.  Raises ReadError or UsageError.
    """
    journal = Journal("inspect", tell)
    with journal.written():
        recipe.validate()
        coupling = couple(model, recipe, journal)
        found = facts.group_facts(coupling, None, Cost(coupling))
        limits(coupling, recipe)  # names what no pattern matches
        for fact, group in zip(found, coupling.groups, strict=True):
            option = keeper(group, recipe)
            if option is not None:
                fact["frozen"], fact["reason"] = True, f"kept whole by {option}"
        journal.report["groups"] = found
        sizes_note(coupling.graph, journal)
    return journal.succeed()


def make_plan(model: Any, recipe: Recipe, tell: Tell = quiet) -> Plan:
    """Score and allocate; the plan carries the report of this run.

    Raises ReadError, UsageError or TargetError, with the partial report as attribute `report`.
    """
    journal = Journal("plan", tell)
    with journal.written():
        recipe.validate()
        coupling = couple(model, recipe, journal)
        reachable(coupling, recipe, journal)

        def work(settled: Recipe) -> tuple[Coupling, Any, tuple[str, ...]]:
            ranked = rank(coupling, settled, journal)
            return *choose(ranked, settled, journal), ranked.rotated

        (chosen, alive, names), recipe = measuring(recipe, coupling, journal, work)
        cost = Cost(chosen)
        before, after = cost(chosen.everything()), cost(alive)
        plan = plan_of(chosen, alive, recipe_facts(recipe), names)
        report = journal.report
        report["groups"] = facts.group_facts(chosen, alive, cost)
        report["reduction"] = {**reduction(before, after), "bytes": None, **saved(report)}
        report["output"] = {"path": None, "sha256": None, "bytes": None, **facts.counts(after)}
        sizes_note(coupling.graph, journal)
    journal.succeed()
    return replace(plan, report=journal.report)
