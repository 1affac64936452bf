"""Settled → Scores: every channel is judged, in the basis that suits a cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.coupling import Coupling
from spa.criteria import Context as Judged
from spa.criteria import score as scored
from spa.pipeline.context import Context
from spa.pipeline.rotate import rotated
from spa.pipeline.values import Groups, Scores, Settled


def score(groups: Groups, settled: Settled, context: Context) -> Scores:
    """Score every channel; the ratio has no say in it."""
    coupling, names = rotated(groups, settled, context)
    values = scores_of(coupling, settled, context)
    if settled.recipe.measures and (moved := settled.feeds.recovered(coupling.graph)):
        context.note(
            "statistics of BatchNormalizations that were folded away are recovered at the outputs "
            f"of {len(moved)} convolutions (--set batch-norm=false measures without)"
        )
    return Scores(coupling, values, names)


def scores_of(coupling: Coupling, settled: Settled, context: Context) -> NDArray[np.float64]:
    """One number per unit, float64 `[labels]`."""
    recipe = settled.recipe
    with context.stage("score"):
        judged = Judged(
            coupling,
            settled.feeds if recipe.measures else (),
            seed=recipe.seed,
            aggregate=recipe.aggregate,
            device=recipe.device,
            batch_norm=recipe.batch_norm,
            callback=context.callback,
        )
        saliency, normalize = recipe.saliency, recipe.normalize
        return scored(judged, recipe.scorer, saliency=saliency, normalize=normalize)
