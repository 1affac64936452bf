"""What can be removed at most is known before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spa.budgets import allocate, demand, limits, moves
from spa.budgets.reach import deepest
from spa.coupling.cost import Cost
from spa.errors import TargetError
from spa.events import quiet
from spa.pipeline import make_plan, prune, sweep, timed
from spa.pipeline.context import Context
from spa.recipe import Recipe
from tests.carried import DIGITS, coupling_of
from tests.nets import MOTIFS, Net

NAMES = ("digits", "fashion", *MOTIFS)
FIGURES = ("macs", "params", "channels")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_costs_less_than_the_least(name):
    """Whichever units go, and exactly as much where all occur equally often."""
    coupling = coupling_of(name)
    cost, random = Cost(coupling), np.random.default_rng(0)
    for recipe in (Recipe(round_to=1), Recipe(round_to=1, max_layer_ratio=0.4)):
        sizes, uses = cost.least(deepest(coupling, recipe))
        for _ in range(3):
            scores = random.random(coupling.notes.size)
            sequence = moves(coupling, scores, limits(coupling, recipe), "global")
            found = cost(sequence.kept(len(sequence.group)))
            for of in FIGURES:
                assert sizes.share(of) <= found.share(of) * (1 + 1e-9), of
        assert sum(macs for _, macs, _ in uses) <= sizes.macs * (1 + 1e-9)
    whole, everything = cost(coupling.everything()), [g.size for g in coupling.groups]
    for of in FIGURES:
        assert cost.least(everything)[0].share(of) == pytest.approx(whole.share(of))


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_reached_is_never_refused(name):
    coupling = coupling_of(name)
    cost = Cost(coupling)
    whole = cost(coupling.everything())
    scores = np.random.default_rng(1).random(coupling.notes.size)
    for of, ratio in product(FIGURES, (0.2, 0.6, 0.9)):
        recipe = Recipe(scorer="l2", of=of, ratio=ratio)
        try:
            alive = allocate(coupling, scores, recipe)
        except TargetError:
            continue
        demand(coupling, recipe)
        demand(coupling, replace(recipe, ratio=1 - cost(alive).share(of) / whole.share(of)))


def rotated():
    """Nearly all work is in a convolution whose channels a rotation ties into one unit."""
    n = Net(batch=1)
    x = n.input("x", 4, 16, 16)
    y = n.conv(x, 4, 24)
    z = n.Add(y, n.Gather(y, n.ints(*range(1, 24), 0), axis=1))
    z = n.Relu(n.conv(n.Relu(z), 24, 24))
    tie = n.Add(z, n.Gather(z, n.ints(*range(1, 24), 0), axis=1))
    return n.done(n.conv(n.Relu(n.conv(tie, 24, 3)), 3, 2)), tie


@pytest.fixture
def unscored(monkeypatch):
    def never(*_, **__):
        raise AssertionError("scored")

    monkeypatch.setattr("spa.pipeline.score.scored", never)
    monkeypatch.setattr("spa.pipeline.settle.probe_of", never)


RUNS = {
    "prune": lambda model, recipe: prune(model, recipe),
    "plan": lambda model, recipe: make_plan(model, recipe),
    "sweep": lambda model, recipe: sweep(model, recipe, ratios=(recipe.ratio, 0.9)),
}


@pytest.mark.parametrize("run", [*RUNS])
@pytest.mark.parametrize("of", ["macs", "params"])
def test_it_is_refused_before_anything_is_scored(unscored, run, of):
    model, node = rotated()
    with pytest.raises(TargetError) as caught:
        RUNS[run](model, Recipe(ratio=0.85, of=of))
    text = str(caught.value)
    assert text.startswith("at most ") and "not 85 %" in text and len(text) < 1000
    if of == "macs":
        assert f"(Conv), as its channels are tied into one unit (at {node}))" in text
        assert text.endswith("lower --ratio")


def test_the_option_that_holds_the_rest_is_named(unscored):
    with pytest.raises(TargetError, match=r"--set min-ch.* lets no more of .*loosen --set min-ch"):
        prune(DIGITS, Recipe(ratio=0.9, min_channels=12))
    with pytest.raises(TargetError, match=r"keep every group as it is \(--ignore\)"):
        prune(DIGITS, Recipe(ratio=0.1, ignore=("*",)))


@pytest.mark.parametrize(("most", "refused"), [(0.2, True), (0.45, False)])
def test_time_is_judged_by_the_deepest_cut(monkeypatch, most, refused):
    """What misses the target by little may still be reached by a cut that goes less deep."""

    class Machine:
        left = 1.0

        def __init__(self, *_):
            pass

        def removed(self, small):
            assert len(small.SerializeToString()) < 0.5 * DIGITS.stat().st_size
            return most

    monkeypatch.setattr(timed, "Whole", Machine)
    recipe, context = Recipe(ratio=0.5, of="latency"), Context("prune", quiet)
    if not refused:
        timed.reachable(coupling_of("digits"), recipe, context)
        return
    with pytest.raises(TargetError, match=r"at most 20 % of the latency .* not 50 % "):
        timed.reachable(coupling_of("digits"), recipe, context)
