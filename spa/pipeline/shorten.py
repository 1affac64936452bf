"""Groups → Groups: branches that are to be bypassed leave the model before anything is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape

from spa.budgets.limits import holds
from spa.coupling import Coupling
from spa.coupling.cost import Cost
from spa.depth import Branch, Branches, branches
from spa.errors import TargetError, UsageError
from spa.pipeline.bypass import without
from spa.pipeline.choose import recipe_facts
from spa.pipeline.context import Context
from spa.pipeline.settle import MEASURING
from spa.pipeline.values import Choice, Groups, Shortened
from spa.plans import Plan
from spa.recipe import Recipe
from spa.registry import UNITS


def shorten(original: Groups, plan: Plan | None, recipe: Recipe, context: Context) -> Groups:
    """The model without the branches that are asked for; the model itself where none are.

    Args:
        original: the analysed model.
        plan: what it names is bypassed, too.
        recipe: patterns of names of branches, and of what is left alone; sizes of inputs.
        context: of the run.

    Raises:
        UsageError: a pattern or a name is that of no branch.
    """
    names = () if plan is None else plan.bypass
    if not (recipe.bypass or names):
        return original
    with context.stage("couple"):
        found = asked(original.coupling, recipe, names)
        groups = shortened(original, found, recipe)
    context.reach(Shortened(original, found))
    return groups


def shortened(original: Groups, found: Sequence[Branch], recipe: Recipe) -> Groups:
    """The model without these of its branches."""
    coupling = without(original.coupling, found, recipe)
    sizes = Cost(coupling)(coupling.everything())
    return Groups(coupling, sizes, original.given, tuple(found), original)


def asked(coupling: Coupling, recipe: Recipe, names: Sequence[str] = ()) -> tuple[Branch, ...]:
    """The branches of these names, and those that a recipe asks for, in the order they end.

    What the recipe leaves alone is only taken by its name.

    Raises:
        UsageError: a name, or a pattern, is that of no branch; says why, where it looks like one.
    """
    known = branches(coupling)
    free = [each for each in known.found if holds(coupling.graph, each, recipe) is None]
    wanted = {each.name for each in known.found if each.name in names}
    for glob in recipe.bypass:
        matched = {each.name for each in free if fnmatchcase(each.name, glob)}
        if not matched:
            raise _unmatched(glob, coupling, known, recipe)
        wanted |= matched
    for name in names:
        if name not in wanted:
            raise _unmatched(escape(name), coupling, known, recipe)
    return tuple(each for each in known.found if each.name in wanted)


def _unmatched(glob: str, coupling: Coupling, known: Branches, recipe: Recipe) -> UsageError:
    """Why a pattern names nothing that may be bypassed."""
    why = {each.name: each.reason for each in known.refused.values()}
    held = {each.name: holds(coupling.graph, each, recipe) for each in known.found}
    why |= {name: f"{option} keeps it" for name, option in held.items() if option}
    near = next((name for name in why if fnmatchcase(name, glob)), None)
    if near is not None:
        return UsageError(f"{near} cannot be bypassed: {why[near]}; choose another")
    return UsageError(
        f"{glob!r} is the name of no branch of this model; `spa inspect --branches` lists them"
    )


def left_to_do(
    original: Groups, groups: Groups, plan: Plan | None, recipe: Recipe
) -> tuple[float, Plan | None]:
    """How much of what is left is to go, and the plan to follow instead of scores, if any.

    Raises:
        UsageError: the budget is no sum over the model.
        TargetError: nothing is left.
    """
    if plan is not None:
        whole = plan if plan.recipe or plan.tensors else nothing_more(recipe)
        return recipe.share, fitting(whole, original, groups)
    share = share_of_rest(original, groups, recipe)
    return (share, None) if share > 0 else (recipe.share, nothing_more(recipe))


def share_of_rest(original: Groups, groups: Groups, recipe: Recipe) -> float:
    """The share of what is left that must go until that of the whole is gone; 0 where it is.

    Of a time it is that of the whole, beside which it is measured.  Raises as `left_to_do`.
    """
    if groups is original or UNITS.says(recipe.of, "timed"):
        return recipe.share
    if not UNITS.says(recipe.of, "counted"):
        raise UsageError(
            f"a bypass beside a ratio of {recipe.of} cannot be planned; count --of macs, or leave "
            "--ratio out to bypass alone"
        )
    whole, rest = original.sizes.share(recipe.of), groups.sizes.share(recipe.of)
    if not rest:
        raise TargetError("nothing is left to prune; bypass less")
    return max(0.0, 1 - (1 - recipe.share) * whole / rest)


def with_branches(choice: Choice, groups: Groups, recipe: Recipe) -> Choice:
    """A choice whose plan says which branches go, and the recipe of the whole model."""
    if not groups.bypassed:
        return choice
    names = tuple(each.name for each in groups.bypassed)
    said = choice.plan.recipe
    said = {**said, "ratio": recipe.share} if "ratio" in said else said
    return replace(choice, plan=replace(choice.plan, bypass=names, recipe=said))


def nothing_more(recipe: Recipe) -> Plan:
    """A plan that cuts no channel; what stays may be refitted as after a cut."""
    scorer = MEASURING if recipe.scorer == "auto" else recipe.scorer
    return Plan({}, recipe=recipe_facts(replace(recipe, scorer=scorer)))


def fitting(plan: Plan, original: Groups, groups: Groups) -> Plan:
    """A plan without what it says of tensors that have left the model with its branches."""
    gone = set(original.coupling.notes.uses()) - set(groups.coupling.notes.uses())
    if groups is original or not gone:
        return plan
    tensors = {name: entry for name, entry in plan.tensors.items() if name not in gone}
    kept = tuple(each for each in plan.groups if not gone.issuperset(each["tensors"]))
    return replace(plan, tensors=tensors, groups=kept)
