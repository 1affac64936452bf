"""Several rounds: scores of what is left, told in the numbering of the original."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from onnx import numpy_helper

from spa import pipeline
from spa.coupling import analyse
from spa.criteria import Context, score
from spa.events import Done, Started
from spa.graph import read
from spa.pipeline.choose import carried
from spa.recipe import Recipe
from spa.rewrite import rewrite
from tests import oracles
from tests.carried import DIGITS
from tests.nets import MOTIFS

choosing = importlib.import_module("spa.pipeline.choose")
NETS = """residual inverted_bottleneck grouped depth_multiplier dense attention_grouped_queries
attention_fused_by_split vision_transformer tied_embedding experts""".split()


def without(coupling, alive):
    """The original model with the weights of dead units set to zero."""
    model = type(coupling.graph.proto)()
    model.CopyFrom(coupling.graph.proto)
    arrays = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    for param in coupling.notes.params.values():
        if param.tensor in arrays:
            view = arrays[param.tensor].reshape(param.view)
            for _, index_map in param.maps:
                view *= alive[coupling.root[index_map.ids]].astype(view.dtype)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    return model


@pytest.mark.parametrize("name", NETS)
def test_scores_of_what_is_left_are_those_of_the_same_channels(name):
    """A dead weight counts as much as one that is zero: nothing."""
    coupling = analyse(read(MOTIFS[name].build()), strict=True)
    alive = oracles.scattered(0.4, 1)(coupling)
    left = analyse(read(rewrite(coupling, alive)), strict=True)
    found = score(Context(left), "l1", normalize="none")
    old = np.full(coupling.notes.size, 7e9)
    got = carried(coupling, alive, left, old, found)
    want = score(
        Context(analyse(read(without(coupling, alive)), strict=True)), "l1", normalize="none"
    )
    seen = 0
    for group in coupling.groups:
        living = group.cells[alive[group.cells]]
        known = living[got[living] != 7e9]  # else frozen by now
        np.testing.assert_allclose(got[known], want[known], rtol=1e-5)
        seen += len(known)
        assert (got[group.cells[~alive[group.cells]]] == 0).all()
    assert seen > 0


def test_every_round_scores_what_is_left(monkeypatch):
    shares, right = [], choosing.allocated

    def allocated(coupling, scores, settled, context):
        shares.append(settled.recipe.ratio)
        return right(coupling, scores, settled, context)

    monkeypatch.setattr(choosing, "allocated", allocated)
    heard = []
    recipe = Recipe(ratio=0.488, scorer="l2", steps=3, verify="none", round_to=1)
    outcome = pipeline.prune(DIGITS, recipe, heard.append)
    assert shares == pytest.approx([0.2, 0.36, 0.488])
    stages = [e.stage for e in heard if isinstance(e, Started)]
    assert stages.count("score") == 3 and "reconstruct" not in stages
    assert 0.488 <= outcome.report["reduction"]["macs"] < 0.51
    assert outcome.plan.recipe["steps"] == 3 and outcome.plan.recipe["ratio"] == 0.488


def test_rounds_choose_otherwise_than_one():
    plans = [
        pipeline.make_plan(DIGITS, Recipe(ratio=0.5, scorer="l1", steps=n, round_to=1)).plan
        for n in (1, 4)
    ]
    assert plans[0].tensors != plans[1].tensors


def test_with_a_scorer_that_measures_every_round_is_refitted():
    heard = []
    options = {"ratio": 0.3, "scorer": "obspa", "samples": 16, "verify": "none"}
    pipeline.prune(DIGITS, Recipe(steps=2, **options), heard.append)
    stages = [e.stage for e in heard if isinstance(e, Done)]
    assert stages.count("reconstruct") == 2 and stages.count("probe") == 1
