"""One random net, pruned in several ways and held against the oracles."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate.verify import lossy_at
from tests import oracles
from tests.fuzz.reference import Agreement, Reference, compare, same_inputs
from tests.nets import random_net
from tests.nets.random_lengths import random_lengths_net

OK, REFUSED, WRONG = "ok", "refused", "wrong"
NOTHING = "nothing can be pruned"
HEADS = ("free", "free", "tied", "free", "whole")


@dataclass(frozen=True)
class Verdict:
    """What came of one seed; `again` counts choices that fitted only after another look.

    `compared` counts tensors that were held against a reference, `skipped` those that could not be,
    as they lie behind a near tie.
    """

    seed: int
    state: str
    reason: str = ""
    steps: tuple[str, ...] = ()
    again: int = 0
    worst: float = 0.0
    compared: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.state}: {self.reason}\n    {' | '.join(self.steps)}"


def trial(seed: int) -> Verdict:
    """Prune the mixture of a seed; never raises."""
    return _judged(seed, _mixture)


def trial_lengths(seed: int) -> Verdict:
    """Prune the net of a seed in which sizes are symbols, and look at others; never raises."""
    return _judged(seed, _lengths)


KINDS: dict[str, Callable[[int], Verdict]] = {"mixtures": trial, "lengths": trial_lengths}
"""The families of nets, and what is done with one of them."""


def _judged(seed: int, look: Callable[[int, list[str]], tuple[int, Agreement]]) -> Verdict:
    steps: list[str] = []
    try:
        again, found = look(seed, steps)
    except oracles.Refused as error:
        return Verdict(seed, REFUSED, str(error), tuple(steps))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        text = (str(error).strip() or "no message").splitlines()[0]
        return Verdict(seed, WRONG, f"{type(error).__name__} at {where}: {text}", tuple(steps))
    if not found.compared:
        return Verdict(seed, WRONG, "nothing was compared", tuple(steps))
    return Verdict(seed, OK, "", tuple(steps), again, found.worst, found.compared, found.skipped)


def _mixture(seed: int, steps: list[str]) -> tuple[int, Agreement]:
    net = random_net(seed)
    steps += net.steps
    found = _exact(seed, net.model)
    if seed % 8 == 0:
        _with_norms(seed)
    return found


def _lengths(seed: int, steps: list[str]) -> tuple[int, Agreement]:
    net = random_lengths_net(seed)
    steps += net.steps
    graph = read(net.model, input_shapes=net.analysed)
    coupling = analyse(graph, strict=True, heads=HEADS[seed % len(HEADS)])
    if not coupling.groups:
        raise oracles.Refused(NOTHING)
    refusals, found = 0, Agreement()
    ratio = oracles.RATIOS[seed % len(oracles.RATIOS)]
    for choose in (oracles.scattered(ratio, seed), oracles.single(seed)):
        coupling, alive, again = oracles.fitted(coupling, choose)
        refusals += again
        small = rewrite(coupling, alive)
        same_inputs(net.model, small)
        reference = Reference(net.model, coupling, alive)
        for sizes in net.sizes:
            feeds = net.feeds(sizes)
            found.add(compare(reference.run(feeds, sizes), small, feeds))
    return refusals, found


def choices(seed: int) -> list[oracles.Choose]:
    """Three of all ways, others for every seed."""
    known = [choose for _, choose in oracles.all_choices()]
    random = np.random.default_rng(seed)
    ratio = float(random.choice(oracles.RATIOS))
    return [oracles.scattered(ratio, seed), known[seed % len(known)], oracles.single(seed)]


def _exact(seed: int, model) -> tuple[int, Agreement]:
    coupling = analyse(read(model), strict=True, heads=HEADS[seed % len(HEADS)])
    if not coupling.groups:
        raise oracles.Refused(NOTHING)
    oracles.identity(coupling)
    refusals, found = 0, Agreement()
    for turn, choose in enumerate(choices(seed)):
        coupling, alive, again = oracles.fitted(coupling, choose)
        refusals += again
        small = rewrite(coupling, alive)
        exact = not lossy_at(coupling, alive)
        compare = oracles.masked if exact else oracles.without_statistics
        found.add(Agreement(compare(coupling, alive, small), 1))
        if turn == seed % 3:
            oracles.works(coupling, alive, small, exact)
            oracles.cost(coupling, alive, small)
    return refusals, found


def _with_norms(seed: int) -> None:
    """The same net with norms is cut and runs; what it computes, its neutral form has shown."""
    coupling = analyse(read(random_net(seed, norms=True).model), strict=True)
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, seed))
    oracles.works(coupling, alive, rewrite(coupling, alive), exact=False)
