"""Repaired → Repaired: what is tuned as asked for, and what is by default where that is possible.

By default the number of steps follows from the model alone, so that a run gives the same bits
again; only a machine that is too slow for them takes fewer.
"""

from __future__ import annotations

from dataclasses import replace

from spa.coupling.cost import Cost
from spa.errors import ReadError, UsageError, VerifyError, first_line, install
from spa.pipeline.context import Context
from spa.pipeline.invert import installed
from spa.pipeline.tune_rows import BATCH
from spa.pipeline.tuning import Checkpoints, Limit, rows_at_once, tune_stage
from spa.pipeline.values import Groups, Repaired, Settled

USUAL, MOST_SECONDS = 200.0, 300.0
"""Seconds that the steps take on a usual pair of cores, and that they may take here."""
FEWEST, MOST = 50, 800
"""Steps: of fewer little comes, and for more a person asks."""
LOOKED = 15
"""Steps' worth of time in which held-back inputs are looked at."""
TRIALS = 1.2
"""Times the steps that count, with those in which rates are tried."""
OVERHEAD = 0.01
"""Seconds of a step, however small the model."""
FAILED = (ReadError, UsageError, VerifyError, RuntimeError, TypeError, ValueError, LookupError)
"""What a model is like that PyTorch cannot follow."""


def heal(
    made: Repaired, original: Groups, settled: Settled, context: Context, kept: Checkpoints
) -> Repaired:
    """Tune a repaired model, where the recipe asks for it or leaves it open and it is possible.

    Args:
        made: the model.
        original: what teaches it.
        settled: with the recipe.
        context: of the run; it is told why nothing was tuned by default.
        kept: what is done about checkpoints.

    Raises:
        UsageError: tuning is asked for and PyTorch is not installed, there are no inputs to judge
            on, or there is no checkpoint of just this run.
    """
    base, asked = original.graph.source.base_dir, settled.recipe.tunes
    limit = None
    if not asked:
        limit = _by_default(made, original, settled, context)
        if limit is None:
            return made
    try:
        model = tune_stage(original, (made.model, base), settled, context, kept, limit)
    except FAILED as error:
        if asked or kept.resume is True:
            raise
        context.note(f"nothing was tuned by gradients: {first_line(error)}")
        return made
    return made if model is None else replace(made, model=model)


def _by_default(
    made: Repaired, original: Groups, settled: Settled, context: Context
) -> Limit | None:
    """How long to tune where nobody said so; None where that is not done."""
    recipe = settled.recipe
    measured = recipe.measures and recipe.repairs and settled.feeds
    if recipe.tune == "off" or not measured:
        return None
    if not installed():
        context.note(
            "what stays was refitted layer by layer; with PyTorch the original teaches it as a "
            f"whole, too, in five minutes at most, and pruning loses less: {install('torch')}"
        )
        return None
    from spa.torch.workload import RATE, STREAM, price_of

    choice = made.cut.choice
    price = price_of(original.graph, Cost(choice.coupling)(choice.kept).macs)
    step = OVERHEAD + BATCH * (3 * price.macs / RATE + 3 * price.bytes / STREAM)
    steps = min(MOST, int(USUAL / step / TRIALS) - LOOKED)
    if steps < FEWEST or not rows_at_once(original, recipe):
        context.note(
            "nothing was tuned by gradients: for a model of this size five minutes are too few, or "
            "one input takes much memory; --tune=30m does it all the same"
        )
        return None
    context.note(
        f"the original teaches what stays, {steps} steps in five minutes at most; --tune=10m gives "
        f"more, --tune={steps}steps repeats it and --tune=off leaves it out; Ctrl-C ends it with "
        "the best so far"
    )
    return Limit(steps, MOST_SECONDS)
