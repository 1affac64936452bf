"""One random net, pruned in several ways and held against the oracles."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost
from spa.depth import Branch, branches
from spa.graph import Graph, read
from spa.rewrite import rewrite
from spa.rewrite.bypass import bypassed
from spa.validate.verify import lossy_at
from spa.validate.zeroed import prove_bypass
from tests import oracles
from tests.fuzz.reference import Agreement, Reference, compare, same_inputs
from tests.fuzz.silenced import silenced
from tests.nets import random_net
from tests.nets.random_blocks import random_blocks_net
from tests.nets.random_lengths import LengthsNet, random_lengths_net
from tests.nets.random_net import RandomNet

OK, REFUSED, WRONG = "ok", "refused", "wrong"
NOTHING = "nothing can be pruned"
NOWHERE = "no branch can be bypassed"
PROVED = 5
"""Of so many nets without branches, spa's own proof is asked for one: it takes longer."""
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


def refusals(verdicts: list[Verdict], reason: str) -> list[Verdict]:
    """The verdicts that are refusals; nothing is wrong, and nothing refused for another reason."""
    wrong = [v for v in verdicts if v.state == WRONG]
    assert not wrong, report(wrong)
    refused = [v for v in verdicts if v.state == REFUSED]
    misfits = [v for v in refused if v.reason != reason]
    assert not misfits, report(misfits)
    return refused


def report(verdicts: list[Verdict]) -> str:
    """A paragraph for each."""
    return "\n".join(map(str, verdicts))


def trial(seed: int) -> Verdict:
    """Prune the mixture of a seed; never raises."""
    return _judged(seed, _mixture)


def trial_lengths(seed: int) -> Verdict:
    """Prune the net of a seed in which sizes are symbols, and look at others; never raises."""
    return _judged(seed, _lengths)


def trial_depth(seed: int) -> Verdict:
    """Bypass branches of a net, drawn at random, then cut what is left; never raises."""
    return _judged(seed, _depth)


def trial_blocks(seed: int) -> Verdict:
    """The same of a net of blocks; never raises."""
    return _judged(seed, _blocks)


KINDS: dict[str, Callable[[int], Verdict]] = {
    "mixtures": trial,
    "lengths": trial_lengths,
    "depth": trial_depth,
    "blocks": trial_blocks,
}
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


def _depth(seed: int, steps: list[str]) -> tuple[int, Agreement]:
    net = random_lengths_net(seed // 2) if seed % 2 else random_net(seed // 2, norms=seed % 4 == 0)
    return _bypassed(seed, net, steps)


def _blocks(seed: int, steps: list[str]) -> tuple[int, Agreement]:
    return _bypassed(seed, random_blocks_net(seed), steps)


def _bypassed(seed: int, net: LengthsNet | RandomNet, steps: list[str]) -> tuple[int, Agreement]:
    """Hold the net without some of its branches against what silences them."""
    steps += net.steps
    shapes = net.analysed if isinstance(net, LengthsNet) else None
    coupling = analyse(read(net.model, input_shapes=shapes), strict=True)
    known = branches(coupling).found
    if not known:
        raise oracles.Refused(NOWHERE)
    random = np.random.default_rng(seed)
    drawn = [each for each in known if random.random() < 0.5] or [known[seed % len(known)]]
    steps.append(f"without {', '.join(each.name for each in drawn)} of {len(known)}")
    short = bypassed(coupling.graph, drawn)
    same_inputs(net.model, short)
    if seed % PROVED == 0:
        prove_bypass(coupling.graph, drawn, short)
    found = Agreement()
    for feeds in _feeds(net, coupling.graph):
        found.add(silenced(coupling.graph.proto, drawn, short, feeds))
    left = analyse(read(short, input_shapes=shapes), strict=True)
    whole, less = (Cost(each)(each.everything()) for each in (coupling, left))
    apart = sum(each.macs for each in drawn if all(_apart(each, o) for o in drawn if o != each))
    assert less.macs <= whole.macs - apart + 1e-6 * whole.macs, f"{less.macs} of {whole.macs} left"
    again = _cut_further(seed, left) if left.groups else 0
    return again, found


def _apart(one: Branch, other: Branch) -> bool:
    """Whether one branch goes wholly beside another: it is no part of it, nor do they cross.

    Of two runs that cross, the second begins in the first, which so stays.
    """
    return not one.nodes & other.nodes or one.nodes > other.nodes


def _feeds(net: LengthsNet | RandomNet, graph: Graph) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of all the sizes to look at."""
    if isinstance(net, LengthsNet):
        yield from map(net.feeds, net.sizes)
        return
    for batch in oracles.BATCHES if any(map(any, graph.dynamic.values())) else (None,):
        yield oracles.feeds_at(graph, batch)


def _cut_further(seed: int, coupling: Coupling) -> int:
    """Widths of what is left are cut as in any model."""
    coupling, alive, again = oracles.fitted(coupling, oracles.scattered(0.5, seed))
    small = rewrite(coupling, alive)
    exact = not lossy_at(coupling, alive)
    (oracles.masked if exact else oracles.without_statistics)(coupling, alive, small)
    return again


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
