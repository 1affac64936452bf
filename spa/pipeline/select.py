"""Groups → Choice: what a plan says goes, or what the budget and the scores say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from spa.pipeline.choose import choose, follow
from spa.pipeline.context import Context
from spa.pipeline.depth import Deepening
from spa.pipeline.score import Rotated, rotated, score
from spa.pipeline.settle import settle
from spa.pipeline.shorten import left_to_do, nothing_more, shorten, with_branches
from spa.pipeline.values import Choice, Groups, Scores, Settled
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
    whole = settled.at(recipe.share)
    if following is None:
        return Selector(groups, rotated(groups, settled, context))(whole, context)
    choice = with_branches(follow(groups, following, whole, context), groups, recipe)
    return Selected(groups, context.reach(whole), context.reach(choice))


@dataclass(eq=False)
class Selector:
    """Chooses by scores, for one budget or several: what does not hang on that is done once.

    Attributes:
        groups: the model, without the branches that are named.
        base: its original in the basis that suits a cut.
    """

    groups: Groups
    base: Rotated
    _deepening: Deepening | None = None
    _scores: dict[Groups, Scores] = field(default_factory=dict)

    def __call__(self, settled: Settled, context: Context) -> Selected:
        """Decide what goes.

        Args:
            settled: with the recipe of the whole model; from one choice to the next only the budget
                may change.
            context: of this choice.

        Raises:
            TargetError: no choice reaches the budget.
            ReadError: the model cannot be measured as asked.
        """
        if self._deepening is None:
            whole = partial(self.scores, self.groups.original, settled, context)
            self._deepening = Deepening(self.groups, self.base, whole, settled, context)
        groups, settled = self._deepening(settled, context)
        scores = partial(self.scores, groups, settled, context)
        choice = within_budget(groups, scores, settled, context)
        return Selected(groups, context.reach(settled), context.reach(choice))

    def scores(self, groups: Groups, settled: Settled, context: Context) -> Scores:
        """Those of the model without some branches, made once."""
        if groups not in self._scores:
            self._scores[groups] = score(groups, self.base, settled, context)
        return self._scores[groups]


def within_budget(
    groups: Groups, scores: Callable[[], Scores], settled: Settled, context: Context
) -> Choice:
    """The channels that stay once the branches have gone.

    Args:
        groups: the model without these branches.
        scores: of its channels, made if they are asked for.
        settled: with the recipe of the whole model.
        context: of the run.

    Raises:
        TargetError: no choice reaches the budget.
    """
    recipe = settled.recipe
    share, nothing = left_to_do(groups.original, groups, None, recipe)
    if recipe.width == "off":
        nothing = nothing_more(recipe)
    if nothing is not None:
        choice = follow(groups, nothing, settled, context)
    else:
        choice = choose(scores(), settled.at(share), context)
    return with_branches(choice, groups, recipe)
