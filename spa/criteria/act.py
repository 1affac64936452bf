"""Activation energy times weight norm, per channel: what Wanda and FLAP rank by.

S_u = Σ_sites Σ_(f in u) var(X_f) · |W_:f|², each site in shares of what it feeds.  The same sites,
inputs and scales as OBSPA, without correlations: nothing makes up for what is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.criteria.obs import problems_of, work_of
from spa.criteria.unread import fill
from spa.events import Tell, quiet


def act(
    coupling: Coupling,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    device: Any = "cpu",
    batch_norm: bool = True,
    tell: Tell = quiet,
) -> NDArray[np.float64]:
    """Energy per unit, `[labels]`; comparable between groups."""
    scores = np.zeros(coupling.notes.size)
    work = work_of(coupling, feeds, tell)
    felt, problems = problems_of(coupling, feeds, device, batch_norm, work)
    for problem in problems:
        energy = problem.energy * np.square(problem.weight).sum(0) * problem.scale
        np.add.at(scores, problem.units, energy)
    scores[0] = 0.0
    unread = [g for g in coupling.groups if not scores[g.cells].any()]
    fill(coupling, scores, unread, feeds, felt, device)
    return scores
