"""Groups → Choice: what a plan says goes, or what the budget and the scores say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spa.pipeline.choose import choose, follow
from spa.pipeline.context import Context
from spa.pipeline.depth import deepen
from spa.pipeline.score import rotated, score
from spa.pipeline.settle import settle
from spa.pipeline.shorten import left_to_do, nothing_more, shorten, with_branches
from spa.pipeline.values import Choice, Groups, Settled
from spa.plans import Plan
from spa.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Selected:
    """What is to be made of a model.

    Attributes:
        groups: the model without the branches that go.
        settled: the recipe, of the whole model, and inputs.
        choice: which channels stay.
    """

    groups: Groups
    settled: Settled
    choice: Choice


def select(original: Groups, plan: Plan | None, recipe: Recipe, context: Context) -> Selected:
    """Decide what goes: the branches that are named, those that pay, and channels.

    Args:
        original: the analysed model.
        plan: what to follow in place of scores, if anything.
        recipe: as a person gave it.
        context: of the run.

    Raises:
        UsageError: a name is that of no branch, or the inputs make no sense.
        TargetError: no choice reaches the budget.
        ReadError: the model cannot be measured as asked.
    """
    groups = shorten(original, plan, recipe, context)
    share, following = left_to_do(original, groups, plan, recipe)
    settled = settle(groups, replace(recipe, ratio=share), context, following)
    context.reach(settled)
    if following is not None:
        choice = follow(groups, following, settled, context)
        whole = settled.at(recipe.ratio)
    else:
        base = rotated(groups, settled, context)
        whole = settled.at(recipe.ratio)
        groups, whole = deepen(groups, base, whole, context)
        share, following = left_to_do(original, groups, None, whole.recipe)
        if recipe.width == "off":
            following = nothing_more(whole.recipe)
        if following is not None:
            choice = follow(groups, following, whole, context)
        else:
            scores = score(groups, base, whole, context)
            choice = choose(scores, whole.at(share), context)
    choice = context.reach(with_branches(choice, groups, whole.recipe))
    return Selected(groups, context.reach(whole), choice)
