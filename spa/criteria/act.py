"""Activation energy times weight norm, per channel: what Wanda and FLAP rank by.

S_u = Σ_sites Σ_(f in u) var(X_f) · |W_:f|², each site in shares of what it feeds.  The same sites,
inputs and scales as OBSPA, without correlations: nothing makes up for what is gone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.criteria.context import Context, criterion
from spa.criteria.obspa import problems_of, work_of
from spa.criteria.products import fill


@criterion(measures=True, comparable=True)
def act(context: Context) -> NDArray[np.float64]:
    """Activation energy times weight norm (Wanda, FLAP)."""
    scores = context.zeros()
    metric, problems = problems_of(context, work_of(context))
    for problem in problems:
        energy = problem.energy * np.square(problem.weight).sum(0) * problem.scale
        np.add.at(scores, problem.units, energy)
    scores[0] = 0.0
    without = [g for g in context.coupling.groups if not scores[g.cells].any()]
    fill(context, scores, without, metric)
    return scores
