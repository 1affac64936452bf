"""From a model to a smaller, verified one, and the parts of that way which have names of their own.

    load → couple → settle → score → choose → cut → repair → heal → sign → judge → gates → deliver

`inspect` ends after `couple`, `plan` after `choose`; `apply` follows a plan in place of scoring.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spa.budgets.limits import holds, keeper, limits
from spa.depth import branches
from spa.errors import UsageError
from spa.events import Callback, quiet
from spa.pipeline.context import Context
from spa.pipeline.files import check_output, files_read
from spa.pipeline.finish import Place, deliver, finish, result_of
from spa.pipeline.gates import score_original
from spa.pipeline.heal import heal
from spa.pipeline.load import couple, load, sizes_note
from spa.pipeline.repair import cut, repair
from spa.pipeline.report import report_of, reporting
from spa.pipeline.result import Result
from spa.pipeline.search import searched
from spa.pipeline.select import select
from spa.pipeline.settle import heads_of
from spa.pipeline.sign import sign
from spa.pipeline.tuning import Checkpoints, Resume, check_tuning
from spa.pipeline.values import Options, Planned
from spa.plans import Plan
from spa.recipe import Recipe


def prune(
    model: Any,
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    output: Place | None = None,
    force: bool = False,
    dry_run: bool = False,
    plan: Place | Plan | Result | None = None,
    resume: Resume = False,
    command: str = "prune",
) -> Result:
    """Prune one model (a path, bytes, a stream or a ModelProto), by its scores or as a plan says.

    Branches that the recipe names go first, and count towards the ratio, with or without a plan.
    Where gates alone say how much may go, the fastest model that passes them is sought.  A
    dry run does everything but write; to `resume` is to go on with a tuning that
    was interrupted, after the stages before it; the report calls what is done `command`.  Raises
    SpaError, with the partial report as attribute `report`.
    """
    context = Context(command, callback)
    with reporting(context):
        target = None if dry_run else output
        asked = recipe if recipe.searches and plan is None else None
        recipe, given = _asked(model, recipe, context, target, plan)
        check_tuning(recipe, resume=resume)
        original = couple(load(model, recipe, context), recipe, context)
        score_original(original.graph, recipe, context)
        if asked is not None:
            written = searched(original, asked, context, output, resume=bool(resume))
        else:
            chosen = select(original, given, recipe, context)
            settled, choice = chosen.settled, chosen.choice
            made = repair(cut(choice, context, checked=given is None), settled, context)
            made = heal(made, original, settled, context, Checkpoints(resume))
            written = sign(made, original, chosen.groups, context)
            written = finish(written, settled, context, output)
        reads = files_read(original.graph, recipe, plan)
        if target is not None:
            deliver(written, target, reads, force, context)
    return result_of(written, context, reads, "dry-run" if dry_run else "ok")


def apply(
    model: Any,
    plan: Place | Plan | Result,
    recipe: Recipe,
    callback: Callback = quiet,
    **options: Any,
) -> Result:
    """Cut a model as a plan says; options and errors as for `prune`."""
    return prune(model, recipe, callback, plan=plan, command="apply", **options)


def make_plan(
    model: Any, recipe: Recipe, callback: Callback = quiet, *, plan: Plan | None = None
) -> Result:
    """Score and allocate, or follow a plan with further branches to bypass; change nothing.

    Raises ReadError, UsageError or TargetError, with the partial report as attribute `report`.
    """
    context = Context("plan", callback)
    with reporting(context):
        recipe, plan = _asked(model, recipe, context, plan=plan)
        original = couple(load(model, recipe, context), recipe, context)
        chosen = select(original, plan, replace(recipe, verify="none"), context)
        choice = chosen.choice
        context.reach(replace(chosen.settled.recipe, verify=recipe.verify))
        context.reach(Planned(original, choice))
        sizes_note(original.graph, context)
        reads = files_read(original.graph, recipe)
    report = report_of(context, "ok")
    return Result(report, plan=replace(choice.plan, report=dict(report)), reads=reads)


def inspect(model: Any, recipe: Recipe, callback: Callback = quiet) -> Result:
    """The groups and branches of a model, what each costs, and what is frozen and why.

    Groups that an option keeps whole count as frozen.  Raises ReadError or UsageError.
    """
    context = Context("inspect", callback)
    with reporting(context):
        recipe, _ = _asked(model, recipe, context)
        groups = couple(load(model, recipe, context), recipe, context)
        limits(groups.coupling, recipe)  # names what no pattern matches
        keepers = tuple(keeper(group, recipe) for group in groups.coupling.groups)
        found = branches(groups.coupling).found
        held = tuple(holds(groups.graph, each, recipe) for each in found)
        context.reach(Options(groups, keepers, found, held))
        sizes_note(groups.graph, context)
    return Result(report_of(context, "ok"), reads=files_read(groups.graph, recipe))


def _asked(
    model: Any,
    recipe: Recipe,
    context: Context,
    output: Place | None = None,
    plan: Place | Plan | Result | None = None,
) -> tuple[Recipe, Plan | None]:
    """The recipe and the plan, read; no file that is read may be written."""
    context.reach(recipe.validate())
    recipe = recipe.budgeted
    check_output(model, recipe, output, plan)
    if isinstance(plan, Result):
        given = plan.plan
        if given is None:
            raise UsageError("this result has no plan to follow; make one with spa.plan")
    else:
        given = plan if isinstance(plan, Plan) or plan is None else Plan.load(plan)
    return (recipe if given is None else replace(recipe, heads=heads_of(given))), given
