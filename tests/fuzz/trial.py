"""One random net, pruned in several ways and held against the oracles."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import numpy as np

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate.verify import lossy_at
from tests import oracles
from tests.nets import random_net

OK, REFUSED, WRONG = "ok", "refused", "wrong"
NOTHING = "nothing can be pruned"
HEADS = ("free", "free", "tied", "free", "whole")


@dataclass(frozen=True)
class Verdict:
    """What came of one seed; `again` counts choices that fitted only after another look."""

    seed: int
    state: str
    reason: str = ""
    steps: tuple[str, ...] = ()
    again: int = 0
    worst: float = 0.0

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.state}: {self.reason}\n    {' | '.join(self.steps)}"


def trial(seed: int) -> Verdict:
    """Prune the net of a seed; never raises."""
    steps: tuple[str, ...] = ()
    try:
        net = random_net(seed)
        steps = net.steps
        again, worst = _exact(seed, net.model)
        if seed % 8 == 0:
            _with_norms(seed)
    except oracles.Refused as error:
        return Verdict(seed, REFUSED, str(error), steps)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        text = (str(error).strip() or "no message").splitlines()[0]
        return Verdict(seed, WRONG, f"{type(error).__name__} at {where}: {text}", steps)
    return Verdict(seed, OK, "", steps, again, worst)


def choices(seed: int) -> list[oracles.Choose]:
    """Three of all ways, others for every seed."""
    known = [choose for _, choose in oracles.all_choices()]
    random = np.random.default_rng(seed)
    ratio = float(random.choice(oracles.RATIOS))
    return [oracles.scattered(ratio, seed), known[seed % len(known)], oracles.single(seed)]


def _exact(seed: int, model) -> tuple[int, float]:
    coupling = analyse(read(model), strict=True, heads=HEADS[seed % len(HEADS)])
    if not coupling.groups:
        raise oracles.Refused(NOTHING)
    oracles.identity(coupling)
    refusals, worst = 0, 0.0
    for turn, choose in enumerate(choices(seed)):
        coupling, alive, again = oracles.fitted(coupling, choose)
        refusals += again
        small = rewrite(coupling, alive)
        exact = not lossy_at(coupling, alive)
        compare = oracles.masked if exact else oracles.without_statistics
        worst = max(worst, compare(coupling, alive, small))
        if turn == seed % 3:
            oracles.works(coupling, alive, small, exact)
            oracles.cost(coupling, alive, small)
    return refusals, worst


def _with_norms(seed: int) -> None:
    """The same net with norms is cut and runs; what it computes, its twin has shown."""
    coupling = analyse(read(random_net(seed, norms=True).model), strict=True)
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, seed))
    oracles.works(coupling, alive, rewrite(coupling, alive), exact=False)
