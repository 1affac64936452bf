"""`prune` where gates alone say how much may go: the fastest model that passes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spa.pipeline.context import Context
from spa.pipeline.finish import Place
from spa.pipeline.gates import check_sizes, limits_of
from spa.pipeline.report import report_of
from spa.pipeline.trials import PRECISION, SIZE, Trials, asking, grid
from spa.pipeline.tuning import Checkpoints
from spa.pipeline.values import Gated, Groups, Searched, Written
from spa.recipe import Recipe
from spa.reports.trials import By

TIMED = ("macs", "latency")
"""Units beside which speed is sought: what the ratio is one of by default, and time itself."""


def searched(
    original: Groups, recipe: Recipe, context: Context, output: Place | None, *, resume: bool
) -> Written:
    """Find the fastest model that passes, or that with the least of another unit than MACs.

    Args:
        original: the analysed model.
        recipe: without a ratio or a speed-up.
        context: of the run, which goes on as that of the model that is found.
        output: where it will go.
        resume: whether to go on with tunings that were interrupted.

    Raises:
        TargetError: nothing can be reached.
        VerifyError: nothing passes.
    """
    by: By = "speedup" if recipe.of in TIMED else "ratio"
    precision = PRECISION[by]
    least = asking(recipe, by, grid(by, precision)(1)).validate().budgeted
    kept = Checkpoints("if-kept" if resume else False, [])
    trials = Trials(original, by, least, context, output, kept)
    trials.search(precision)
    context.timings.pop("sweep")  # the other stages say it
    best, rows = trials.best, tuple(trials.rows.values())
    facts = Searched(by, best.asked if best else None, limits_of(recipe), rows)
    trouble = trials.trouble(recipe)
    if trouble is not None:
        context.reach(recipe)
        context.reach(facts)
        raise trouble
    written, part = trials.healed()
    kept.forget()
    context.adopt(part)
    context.reach(facts)
    _settled(trials, recipe, context)
    _doubt(recipe, len(facts.rows), context)
    return written


def _settled(trials: Trials, recipe: Recipe, context: Context) -> None:
    """Tell and hold the demands that have not guided the search."""
    assert trials.best is not None
    sizes: dict[str, Any] = {name: getattr(recipe, name) for name in SIZE}
    context.reach(replace(trials.best.settled.recipe, **sizes))
    report = report_of(context)
    context.reach(Gated((*report.get("gates", ()), *check_sizes(report, recipe))))


def _doubt(recipe: Recipe, count: int, context: Context) -> None:
    """Say that the figure by which a model was chosen flatters it."""
    if recipe.max_drop is not None or recipe.min_score is not None:
        context.note(
            f"the score has chosen this model among {count}, so that it is a little too good for "
            "it: the final figure is one on rows that the check of a search has not seen"
        )
