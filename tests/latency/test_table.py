"""Pieces of a graph, alone and at other widths, and the times that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from spa.budgets.limits import limits
from spa.coupling import analyse, misplaced
from spa.graph import read
from spa.latency.clock import Clock
from spa.latency.extract import extract, timeable
from spa.latency.menu import MOST, menus, paying
from spa.latency.pieces import pieces
from spa.recipe import Recipe
from spa.rewrite import rewrite
from spa.trace import Kept
from tests.carried import coupling_of
from tests.latency.fakes import FakeStopwatch, blocks, milliseconds, smooth, table_of
from tests.nets import MOTIFS

NETS = ("digits", "fashion")


def bounds_of(coupling, **options):
    return menus(coupling, limits(coupling, Recipe(**options)))


def test_a_body_that_is_cut_through_is_a_piece_that_nobody_times():
    model = MOTIFS["names_that_clash"].build()
    coupling = analyse(read(model))
    carriers = [n.index for n in coupling.graph.nodes if n.op == "If"]
    found = [piece for piece in pieces(coupling) if carriers[0] in piece.nodes]
    assert len(found) == 1
    assert not timeable(coupling, found[0])


def clock_of(coupling, rounded=smooth, **options):
    surfaces = table_of(coupling, FakeStopwatch(rounded)).surfaces(bounds_of(coupling, **options))
    whole = milliseconds(coupling.graph.proto, rounded)
    return Clock(coupling, surfaces, whole)


@pytest.mark.parametrize("name", NETS)
def test_every_node_is_in_one_piece(name):
    coupling = coupling_of(name)
    found = [index for piece in pieces(coupling) for index in piece.nodes]
    assert sorted(found) == [node.index for node in coupling.graph.nodes]
    named = {coupling.graph.nodes[piece.nodes[0]].op for piece in pieces(coupling)}
    assert named <= {"Conv", "Gemm", "MatMul", "Sub"}, "activations hang off what multiplies"


@pytest.mark.parametrize("name", NETS)
def test_every_group_moves_some_piece(name):
    coupling = coupling_of(name)
    moved = {g for piece in pieces(coupling) for axis in piece.axes for g in axis}
    assert moved == {group.id for group in coupling.groups}


@pytest.mark.parametrize("name", NETS)
def test_pieces_run_alone_at_any_width_and_have_its_shapes(name):
    """The pieces of a cut model hold the very tensors that the cut model holds."""
    ort = pytest.importorskip("onnxruntime")
    coupling = coupling_of(name)
    alive = coupling.everything()
    for group in coupling.groups:
        alive[group.cells[:, : group.size // 3]] = False
    assert not misplaced(coupling, alive)
    left = Kept(coupling.notes, coupling.root, alive)
    shapes = []
    for piece in pieces(coupling):
        assert timeable(coupling, piece)
        trial = extract(coupling, piece, left)
        shapes += [tuple(t.dims) for t in trial.model.graph.initializer if len(t.dims) > 1]
        for model in filter(None, (trial.model, trial.twice)):
            session = ort.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            for value in session.run(None, dict(trial.feeds)):
                assert np.isfinite(value).all()
    stored = rewrite(coupling, alive).graph.initializer
    assert sorted(shapes) == sorted(tuple(t.dims) for t in stored if len(t.dims) > 1)


def test_equal_pieces_are_measured_once():
    coupling = coupling_of("fashion")
    stopwatch = FakeStopwatch()
    table = table_of(coupling, stopwatch)
    table.surfaces(bounds_of(coupling))
    keys = [trial.key for trial in stopwatch.trials]
    assert len(keys) == len(set(keys)) == table.tally.measured


def test_keys_tell_widths_apart_but_not_weights():
    coupling = coupling_of("digits")
    every = pieces(coupling)
    whole = Kept(coupling.notes, coupling.root, coupling.everything())
    for group in coupling.groups:
        alive = coupling.everything()
        first, last = alive.copy(), alive.copy()
        first[group.cells[:, :4]] = False
        last[group.cells[:, -4:]] = False
        lefts = [Kept(coupling.notes, coupling.root, a) for a in (first, last)]
        for piece in every:
            keys = {extract(coupling, piece, left).key for left in lefts}
            touched = any(group.id in axis for axis in piece.axes)
            assert len(keys) == 1
            assert (keys != {extract(coupling, piece, whole).key}) == touched


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rounded", [smooth, blocks])
def test_what_is_predicted_is_what_the_model_takes(name, rounded):
    """At widths that were measured, the table and the whole model agree to the last digit."""
    coupling = coupling_of(name)
    bounds = bounds_of(coupling)
    clock = clock_of(coupling, rounded)
    assert clock.scale == pytest.approx(1.0)
    for deep in (0, -1):
        alive = coupling.everything()
        for group, limit in zip(coupling.groups, bounds, strict=True):
            alive[group.cells[:, : limit.steps[deep]]] = False
        small = rewrite(coupling, alive)
        assert clock(alive) == pytest.approx(milliseconds(small, rounded), rel=1e-6)


def test_between_measured_widths_it_is_interpolated():
    """A product of two widths is linear in each, so that the prediction is exact there, too."""
    coupling = coupling_of("fashion")
    clock = clock_of(coupling, smooth)
    rng = np.random.default_rng(0)
    for _ in range(5):
        alive = coupling.everything()
        for group in coupling.groups:
            alive[group.cells[:, : rng.integers(group.size // 2)]] = False
        expected = milliseconds(rewrite(coupling, alive), smooth)
        assert clock(alive) == pytest.approx(expected, rel=1e-3)


def test_a_second_run_measures_nothing(tmp_path):
    coupling = coupling_of("digits")
    first, second = FakeStopwatch(), FakeStopwatch()
    bounds = bounds_of(coupling)
    once = table_of(coupling, first, tmp_path).surfaces(bounds)
    table = table_of(coupling, second, tmp_path)
    again = table.surfaces(bounds)
    assert first.trials and not second.trials
    assert (table.tally.measured, table.tally.cached) == (0, len(first.trials))
    for a, b in zip(once, again, strict=True):
        assert (a.times == b.times).all()


def test_when_time_is_up_the_rest_is_estimated():
    coupling = coupling_of("fashion")
    clock = iter(range(10_000))
    stopwatch = FakeStopwatch(smooth)
    table = table_of(coupling, stopwatch, seconds=3.0, now=lambda: float(next(clock)))
    surfaces = table.surfaces(bounds_of(coupling))
    assert table.tally.estimated > 0
    for surface in surfaces:
        assert surface.known >= 1, "how long a piece takes as it is, is always measured"
        assert np.isfinite(surface.times).all()
        assert surface.times.max() == surface.times.flat[-1], "narrower is not estimated slower"


def test_what_does_not_run_is_time_that_no_cut_saves():
    coupling = coupling_of("digits")
    broken = table_of(coupling, FakeStopwatch(fails=lambda trial: "Conv" in str(trial.model)))
    surfaces = broken.surfaces(bounds_of(coupling))
    clock = Clock(coupling, surfaces, whole=100.0)
    assert broken.tally.failed and clock.scale == 1.0 and 0 < clock.between < 100.0
    assert clock(coupling.everything()) == pytest.approx(100.0)
    nothing = np.zeros(coupling.notes.size, bool)
    assert clock(nothing) == pytest.approx(clock.between)


def test_the_parts_are_scaled_to_the_whole():
    coupling = coupling_of("digits")
    surfaces = table_of(coupling).surfaces(bounds_of(coupling))
    total = Clock(coupling, surfaces, whole=1.0).scale
    clock = Clock(coupling, surfaces, whole=3.0, overhead=1.0)
    assert clock.scale == pytest.approx(2.0 * total)
    assert clock.between == pytest.approx(1.0)
    assert clock(coupling.everything()) == pytest.approx(3.0)


def test_menus_are_short_and_hold_whole_blocks():
    coupling = coupling_of("fashion")
    for round_to in (1, 4, "auto"):
        every = limits(coupling, Recipe(round_to=round_to))
        for group, limit, menu in zip(coupling.groups, every, menus(coupling, every), strict=True):
            assert len(menu.steps) <= MOST
            assert set(menu.steps) <= set(limit.steps)
            assert menu.steps[0] == 0 and len(menu.steps) >= min(len(limit.steps), 2)
            kept = group.channels - menu.steps * len(group.cells)
            if group.channels >= 64:
                assert not (kept % 16).any(), "kernels like blocks"


def test_widths_that_save_nothing_are_not_offered():
    """On a machine of blocks of 16, keeping 28 or 24 of 32 channels costs accuracy for nothing."""
    coupling = coupling_of("digits")
    every = bounds_of(coupling, round_to=4)
    stepped, plain = clock_of(coupling, blocks, round_to=4), clock_of(coupling, round_to=4)
    for group, menu, steps, all_pay in zip(
        coupling.groups,
        every,
        paying(coupling, every, stepped),
        paying(coupling, every, plain),
        strict=True,
    ):
        kept = group.channels - steps.steps * len(group.cells)
        if group.channels % 16 == 0:
            assert not (kept % 16).any(), group.name
        assert set(all_pay.steps) == set(menu.steps), group.name


def test_a_named_share_stays_named():
    coupling = coupling_of("digits")
    name = coupling.groups[-1].name
    bounds = bounds_of(coupling, layer_ratio={name: 0.5})
    clock = clock_of(coupling, blocks)
    forced = paying(coupling, bounds, clock)[-1]
    assert forced.forced > 0 and forced.forced in forced.steps
