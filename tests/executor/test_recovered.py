"""Statistics of folded BatchNormalizations: found where training left them, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from spa import runtime
from spa.executor.channels import moments
from spa.executor.recovered import blocks_of, recover
from spa.executor.stream import Stream
from spa.pipeline import prune
from spa.recipe import Recipe
from spa.repairs import reconstruct
from spa.rewrite import rewrite
from tests.nets.bottlenecks import BLOCKS, WIDE, Bottlenecks


def images(count, seed, scale=1.0, shift=0.0):
    """Pictures that are smooth, so that channels of a convolution are not all alike."""
    rng = np.random.default_rng(seed)
    fine = rng.standard_normal((count, 3, 12, 12))
    coarse = rng.standard_normal((count, 3, 3, 3)).repeat(4, 2).repeat(4, 3)
    return [{"x": (scale * (0.5 * fine + coarse) + shift).astype(np.float32)}]


@pytest.fixture(scope="module")
def trained():
    """A folded model, what it was trained on, and something else."""
    real = images(64, seed=1)
    return Bottlenecks(0.0).folded(real), real, images(32, seed=2, scale=0.4, shift=0.3)


def spreads(coupling, feeds, found=None):
    """Standard deviations of what the blocks begin with."""
    graph = coupling.graph
    stream = Stream(graph.proto, graph, feeds, "cpu", found)
    made = []
    for block in blocks_of(graph):
        if block.first is not None:
            stream.run_to(block.first.index + 1, [block.first.outputs[0]])
            made.append(np.sqrt(moments(stream.values[block.first.outputs[0]])[1]))
    return made


def test_blocks_are_found_from_the_graph_alone(trained):
    blocks = list(blocks_of(trained[0].graph))
    assert len(blocks) == BLOCKS
    assert [b.first is None for b in blocks] == [True] + [False] * (BLOCKS - 1)
    assert all(b.last.attrs.get("group", 1) == 1 for b in blocks)


def test_means_and_spreads_come_back(trained):
    coupling, real, other = trained
    found = recover(coupling.graph, other)
    graph = coupling.graph
    stream = Stream(graph.proto, graph, other, "cpu", found)
    for block in blocks_of(graph):
        name = block.last.outputs[0]
        stream.run_to(block.last.index + 1, [name])
        assert np.abs(moments(stream.values[name])[0]).max() < 0.02
    true, left, put_back = (
        np.concatenate(spreads(coupling, *args)) for args in ((real,), (other,), (other, found))
    )
    assert np.median(left / true) < 0.75
    assert abs(np.median(np.log(put_back / true))) < 0.5 * abs(np.median(np.log(left / true)))


def test_on_what_it_was_trained_on_nothing_moves(trained):
    coupling, real, _ = trained
    for scale, shift in recover(coupling.graph, real).values():
        np.testing.assert_allclose(scale, 1)
        np.testing.assert_allclose(shift, 0, atol=0.05)


def test_a_model_whose_means_are_not_zero_is_left_alone():
    real = images(64, seed=1)
    assert recover(Bottlenecks(1.0).folded(real).graph, real) == {}


def test_what_is_refitted_suits_what_the_model_was_trained_on(trained):
    coupling, real, other = trained
    alive = coupling.everything()
    for group in coupling.groups:
        if group.size == WIDE:
            alive[group.cells[:, WIDE * 2 // 3 :]] = False
    cut = rewrite(coupling, alive)

    def missed(model):
        outputs = [
            next(iter(runtime.run(runtime.session(m, device="cpu"), real[0]).values()))
            for m in (coupling.graph.proto, model)
        ]
        return np.linalg.norm(outputs[1] - outputs[0]) / np.linalg.norm(outputs[0])

    feeds = [{"x": x} for x in np.split(other[0]["x"], 4)]
    plain, better = (
        missed(reconstruct(coupling, alive, cut, feeds, batch_norm=on)[0]) for on in (False, True)
    )
    assert better < 0.85 * plain < missed(cut)


def test_the_option_reaches_scores_and_repair(trained, tmp_path):
    coupling, _, other = trained
    calib = tmp_path / "x.npz"
    np.savez(calib, x=other[0]["x"])
    notes, models = [], []
    for on in (True, False):
        recipe = Recipe(ratio=0.3, calib=str(calib), round_to=1, batch_norm=on, verify="none")
        done = prune(coupling.graph.proto, recipe)
        notes.append(any("folded away" in note for note in done.report["notes"]))
        models.append(done.model.SerializeToString())
    assert notes == [True, False] and models[0] != models[1]
