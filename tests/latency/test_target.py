"""Targets in time are met as measured, not as predicted, or refused with what is possible."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spa.budgets import allocate
from spa.coupling import misplaced
from spa.criteria import Context, score
from spa.errors import TargetError
from spa.latency.target import EXCESS, TOLERANCE, TURNS, facts, milder, out_of_reach, reach
from spa.recipe import Recipe
from spa.rewrite import rewrite
from tests.carried import coupling_of
from tests.latency.fakes import (
    FakeStopwatch,
    FakeWhole,
    blocks,
    kept,
    milliseconds,
    smooth,
    table_of,
)


def aim(name, ratio, rounded=blocks, scores=None, whole=None, **options):
    coupling = coupling_of(name)
    recipe = Recipe(**{"ratio": ratio, "of": "latency", "scorer": "l2", **options}).validate()
    scores = score(Context(coupling), "l2") if scores is None else scores
    whole = whole or FakeWhole(coupling, rounded)
    table = table_of(coupling, FakeStopwatch(rounded))
    return reach(coupling, scores, recipe, table, whole), coupling, whole, table, recipe


@pytest.mark.parametrize("name", ["digits", "fashion"])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("scope", ["global", "local"])
def test_the_target_is_met_as_measured(name, ratio, scope):
    reached, coupling, whole, *_ = aim(name, ratio, smooth, scope=scope)
    small = rewrite(coupling, reached.aim.kept)
    assert reached.aim.measured == pytest.approx(whole.removed(small))
    assert ratio - TOLERANCE <= reached.aim.measured <= ratio + 2 * EXCESS
    assert not misplaced(coupling, reached.aim.kept)


@pytest.mark.parametrize("ratio", [0.2, 0.4])
def test_whole_blocks_are_kept_where_others_save_nothing(ratio):
    """The budget of MACs takes any multiple of 4; time says that only those of 16 pay."""
    reached, coupling, *_ = aim("fashion", ratio, blocks, round_to=4)
    wide = [k for k, g in enumerate(coupling.groups) if g.channels % 16 == 0]
    left = [kept(coupling, reached.aim.kept)[k] for k in wide]
    assert not any(count % 16 for count in left), left
    recipe = Recipe(ratio=ratio, of="macs", scorer="l2", round_to=4)
    other = allocate(coupling, score(Context(coupling), "l2"), recipe)
    assert any(kept(coupling, other)[k] % 16 for k in wide)
    # and those are slower than they look
    taken = milliseconds(rewrite(coupling, other)) / milliseconds(coupling.graph.proto)
    assert reached.aim.measured > 1 - taken + 0.02


@pytest.mark.parametrize("drag", [1.15, 0.85])
def test_a_table_that_is_wrong_is_made_up_for(drag):
    """Where the pruned model is slower or faster than predicted, the aim moves."""
    coupling = coupling_of("fashion")
    whole = FakeWhole(coupling, smooth, drag=drag)
    reached, *_ = aim("fashion", 0.3, smooth, whole=whole)
    assert 0.3 - TOLERANCE <= reached.aim.measured <= 0.3 + EXCESS
    assert abs(reached.aim.predicted - reached.aim.measured) > 0.03
    assert 1 < reached.turns <= TURNS


def test_what_cannot_be_reached_is_refused_with_what_can():
    coupling = coupling_of("fashion")
    whole = FakeWhole(coupling, blocks, extra=milliseconds(coupling.graph.proto))  # half is fixed
    with pytest.raises(TargetError) as caught:
        aim("fashion", 0.6, whole=whole)
    text = str(caught.value)
    most = float(re.search(r"at most ([\d.]+) %", text)[1])
    assert 20 < most < 50
    assert "as measured" in text and "not 60 %" in text
    assert "50 % is what a run costs apart from its operators" in text
    assert "--set max-layer-ratio" in text and "--of macs" in text
    # what it says is possible, is
    reached, *_ = aim("fashion", most / 100 - 1e-3, whole=whole)
    assert reached.aim.measured >= most / 100 - TOLERANCE


@pytest.mark.parametrize(
    ("most", "words", "way"),
    [
        (
            0.3605,
            "at most 1.56 times as fast on this machine, as measured, not 2 times",
            "--speedup 1.56",
        ),
        (-0.02, "narrower layers make it no faster", "say --ratio in place of --speedup"),
    ],
)
def test_who_asks_for_a_speed_is_told_of_speeds(most, words, way):
    recipe = Recipe(speedup=2.0).budgeted
    assert words in out_of_reach(most, recipe)
    assert way in milder(most, recipe)


def test_who_keeps_all_branches_is_told_of_them():
    kept = Recipe(speedup=2.0, depth="off").budgeted
    assert milder(0.36, kept) == "ask for --speedup 1.56, let branches go (--depth auto)"
    assert "branches" not in milder(0.36, Recipe(speedup=2.0).budgeted)


def test_a_model_that_does_not_get_faster_is_refused():
    whole = FakeWhole(coupling_of("digits"), smooth, drag=200.0)
    with pytest.raises(TargetError, match="at most 0 % of the latency can be removed"):
        aim("digits", 0.2, smooth, whole=whole)


def test_a_prediction_is_never_taken_for_a_measurement():
    """The table says that half is gone; the clock says a third."""
    coupling = coupling_of("digits")
    whole = FakeWhole(coupling, smooth, extra=0.5 * milliseconds(coupling.graph.proto, smooth))
    whole.overhead = 0.0
    reached, *_ = aim("digits", 0.3, smooth, whole=whole)
    assert reached.aim.measured >= 0.3 - TOLERANCE
    assert reached.aim.predicted > reached.aim.measured + 0.05


def test_nothing_to_prune_is_said_as_ever():
    with pytest.raises(TargetError, match="nothing to prune: the options keep every group"):
        aim("digits", 0.2, ignore=("*",))


def test_errors_are_weighed_by_the_time_they_save():
    """With scores that are errors, all alike, the channels that cost most time go first."""
    coupling = coupling_of("fashion")
    scores = np.ones(coupling.notes.size)
    reached, *_ = aim("fashion", 0.2, smooth, scores=scores, scorer="obspa")
    left = np.array(kept(coupling, reached.aim.kept))
    whole = np.array([g.channels for g in coupling.groups])
    clock_free = left == whole
    assert clock_free.any() and not clock_free.all()
    cheap = [
        _worth(coupling, g) for g, free in zip(coupling.groups, clock_free, strict=True) if free
    ]
    dear = [
        _worth(coupling, g) for g, free in zip(coupling.groups, clock_free, strict=True) if not free
    ]
    assert np.mean(dear) > np.mean(cheap)


def _worth(coupling, group):
    """Milliseconds per channel."""
    alive = coupling.everything()
    alive[group.cells[:, : group.size // 2]] = False
    whole = milliseconds(coupling.graph.proto, smooth)
    return (whole - milliseconds(rewrite(coupling, alive), smooth)) / (group.channels // 2)


def test_the_facts_say_how_it_went():
    reached, _, whole, table, recipe = aim("fashion", 0.3)
    told = facts(reached, recipe, table, whole)
    assert told["asked"] == 0.3 and told["measured"] == reached.aim.measured
    assert told["points"]["measured"] > 0 and told["cache"] is None and told["cpu"] == "test cpu"
    shares = [bottleneck["share"] for bottleneck in told["bottlenecks"]]
    assert sum(shares) == pytest.approx(1.0) and shares == sorted(shares, reverse=True)
    assert told["bottlenecks"][0]["op"] == "Conv" and told["bottlenecks"][0]["shrinks"]
