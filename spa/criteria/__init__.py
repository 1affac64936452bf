"""Criteria: how much every channel matters; one file each (docs/contributing/add_a_criterion.md).

A criterion scores channels, or single weights: `aggregate` turns these into a score per coupled
channel, as SPA (arXiv 2403.18955, section 3.3) does.  It knows nothing of budgets and repairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from spa.coupling.model import Coupling
from spa.criteria.aggregate import Weigh, normalized
from spa.criteria.context import Context, Criterion, Feeds, Scores, criterion
from spa.errors import ReadError, UsageError
from spa.trace import is_float

__all__ = ["Context", "Criterion", "Feeds", "Scores", "Weigh", "criterion", "score"]


def score(
    context: Context,
    scorer: str = "l2",
    *,
    saliency: str | Path | None = None,
    normalize: str = "mean",
) -> Scores:
    """Importance per unit, float64 `[labels]`, made comparable between groups.

    The criterion `scorer` tells, or the file `saliency`: .npz or .safetensors with one array per
    initializer, of its shape.  What is not comparable is divided within the group (`normalize`).

    Raises:
        ReadError: a score is no number, as weights are none.
        UsageError: unknown names, a saliency file that does not fit the model, or a criterion of
            another package that does not work.
    """
    if saliency is not None:
        from spa.criteria.saliency import from_file

        found: Scores | Weigh = from_file(context.coupling.graph, Path(saliency))
        comparable: bool | str = False
    else:
        found = criterion.get(scorer)(context)
        comparable = criterion.says(scorer, "comparable")
    scores = context.per_channel(found) if callable(found) else found
    if scores.shape != (context.coupling.notes.size,):
        raise UsageError(
            f"the scorer '{scorer}' gives an array of shape {scores.shape}, where one number per "
            f"unit is wanted, ({context.coupling.notes.size},); begin with context.zeros()"
        )
    if not comparable:
        scores = normalized(context.coupling, scores, normalize)
    if np.isnan(scores).any():
        _explain(context.coupling)
    return scores


def _explain(coupling: Coupling) -> NoReturn:
    """Raise ReadError: scores are no numbers; names the weights that are none either, if any."""
    consts = coupling.graph.consts
    for name in coupling.notes.uses():
        floats = is_float(coupling.graph.dtypes.get(name))
        if floats and not np.isfinite(np.asarray(consts[name], np.float32)).all():
            raise ReadError(
                f"the weights '{name}' hold numbers that are not finite, so that channels "
                "cannot be ranked; export the model again, or leave these alone with --ignore"
            )
    raise ReadError(
        "the scores of some channels are no numbers; choose another scorer (such as --scorer l1), "
        "or give inputs that the model is made for with --calib"
    )
