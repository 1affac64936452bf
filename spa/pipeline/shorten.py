"""Groups → Groups: branches that are to be bypassed leave the model before anything is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape

from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost
from spa.depth import Branch, branches
from spa.errors import TargetError, UsageError
from spa.graph import read
from spa.pipeline.choose import recipe_facts
from spa.pipeline.context import Context
from spa.pipeline.values import Groups, Shortened
from spa.plans import Plan
from spa.recipe import Recipe
from spa.registry import UNITS
from spa.rewrite.bypass import bypassed


def shorten(
    original: Groups, globs: Sequence[str], plan: Plan | None, recipe: Recipe, context: Context
) -> Groups:
    """The model without the branches that are asked for; the model itself where none are.

    Args:
        original: the analysed model.
        globs: patterns of names of branches.
        plan: what it names is bypassed, too.
        recipe: sizes of inputs.
        context: of the run.

    Raises:
        UsageError: a pattern or a name is that of no branch.
    """
    names = () if plan is None else plan.bypass
    if not (globs or names):
        return original
    with context.stage("couple"):
        found = asked(original.coupling, globs, names)
        coupling = without(original.coupling, found, recipe)
        sizes = Cost(coupling)(coupling.everything())
    context.reach(Shortened(original, found))
    return Groups(coupling, sizes, original.given, found)


def without(coupling: Coupling, found: Sequence[Branch], recipe: Recipe) -> Coupling:
    """The analysis of a model without some of its branches."""
    source = coupling.graph.source
    short = bypassed(coupling.graph, found)
    graph = read(short, input_shapes=recipe.input_shape, base_dir=source.base_dir)
    return analyse(replace(graph, source=source), heads=coupling.heads)


def asked(
    coupling: Coupling, globs: Sequence[str], names: Sequence[str] = ()
) -> tuple[Branch, ...]:
    """The branches of these names, and those that a pattern matches, in the order they end.

    Raises:
        UsageError: a name, or a pattern, is that of no branch; says why, where it looks like one.
    """
    known = branches(coupling)
    wanted = [*globs, *map(escape, names)]
    for glob in wanted:
        if any(fnmatchcase(each.name, glob) for each in known.found):
            continue
        near = next((each for n, each in known.refused.items() if fnmatchcase(n, glob)), None)
        if near is not None:
            raise UsageError(f"{near.name} cannot be bypassed: {near.reason}; choose another")
        raise UsageError(
            f"{glob!r} is the name of no branch of this model; `spa inspect --branches` lists them"
        )
    return tuple(
        each for each in known.found if any(fnmatchcase(each.name, glob) for glob in wanted)
    )


def left_to_do(original: Groups, groups: Groups, recipe: Recipe) -> float:
    """The share of what is left that must go until that of the whole is gone; 0 where it is.

    Raises:
        UsageError: the budget is no sum over the model.
    """
    if groups is original:
        return recipe.ratio
    if not UNITS.says(recipe.of, "counted"):
        raise UsageError(
            f"a bypass beside a ratio of {recipe.of} cannot be planned; count --of macs, or leave "
            "--ratio out to bypass alone"
        )
    whole, rest = original.sizes.share(recipe.of), groups.sizes.share(recipe.of)
    if not rest:
        raise TargetError("nothing is left to prune; bypass less")
    return max(0.0, 1 - (1 - recipe.ratio) * whole / rest)


def nothing_more(recipe: Recipe) -> Plan:
    """A plan that cuts no channel."""
    return Plan({}, recipe=recipe_facts(recipe))


def fitting(plan: Plan, original: Groups, groups: Groups) -> Plan:
    """A plan without what it says of tensors that have left the model with its branches."""
    gone = set(original.coupling.notes.uses()) - set(groups.coupling.notes.uses())
    if groups is original or not gone:
        return plan
    tensors = {name: entry for name, entry in plan.tensors.items() if name not in gone}
    kept = tuple(each for each in plan.groups if not gone.issuperset(each["tensors"]))
    return replace(plan, tensors=tensors, groups=kept)
