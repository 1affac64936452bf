"""Pruning that measures on inputs and refits what stays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from spa import pipeline
from spa.errors import SpaError
from spa.recipe import Recipe
from tests.carried import DIGITS, MODELS
from tests.reports.valid import validate

FEW = {"ratio": 0.3, "samples": 32, "verify": "run"}


def stored(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.fixture(scope="module")
def refitted():
    return pipeline.prune(DIGITS, Recipe(scorer="obspa", **FEW))


def test_the_report_says_how_it_was_done(refitted):
    report = refitted.report
    assert validate(report) == [] and report["status"] == "ok"
    assert {"probe", "score", "reconstruct"} <= set(report["timings"])
    assert report["reduction"]["macs"] >= 0.3
    assert refitted.plan.recipe["scorer"] == "obspa" and refitted.plan.recipe["samples"] == 32


def test_what_stays_keeps_its_shape_and_not_its_weights(refitted):
    plan = refitted.plan
    cut = pipeline.apply(DIGITS, plan, Recipe(verify="none", reconstruct=False))
    whole, small = stored(cut.model), stored(refitted.model)
    assert all(small[name].shape == array.shape for name, array in whole.items())
    assert any(not np.array_equal(v, small[k]) for k, v in whole.items())
    assert [n.name for n in cut.model.graph.node] == [n.name for n in refitted.model.graph.node]


def test_the_same_question_gives_the_same_bytes(refitted):
    again = pipeline.prune(DIGITS, Recipe(scorer="obspa", **FEW))
    texts = [o.model.SerializeToString(deterministic=True) for o in (refitted, again)]
    assert texts[0] == texts[1]


def test_refitting_helps_on_real_inputs():
    """On images of its own kind the refitted model stays nearer to the original."""
    images = np.load(MODELS / "digits_calib.npz")["images"][:64]
    plan = pipeline.make_plan(DIGITS, Recipe(ratio=0.3, scorer="l2")).plan
    drifts = []
    for reconstruct in (False, True):
        recipe = Recipe(reconstruct=reconstruct, samples=64, verify="none")
        model = pipeline.apply(DIGITS, plan, recipe).model
        want, got = logits(onnx.load(DIGITS), images), logits(model, images)
        drifts.append(np.linalg.norm(want - got) / np.linalg.norm(want))
    assert drifts[1] < 0.8 * drifts[0]


def logits(model, images):
    from spa import runtime

    return runtime.run(runtime.session(model), {"images": images.astype(np.float32)})["logits"]


def test_inputs_of_ones_own(tmp_path):
    images = np.load(MODELS / "digits_calib.npz")["images"][:32]
    np.save(tmp_path / "images.npy", images)
    recipe = Recipe(scorer="obspa", calib=str(tmp_path / "images.npy"), **FEW)
    assert validate(pipeline.prune(DIGITS, recipe).report) == []


@pytest.mark.parametrize("calib", ["missing.npy", "text.npy", "."])
def test_inputs_that_cannot_be_read(calib, tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(SpaError) as caught:
        pipeline.prune(DIGITS, Recipe(scorer="obspa", calib=str(tmp_path / calib), **FEW))
    assert caught.value.exit_code in (2, 3) and "\n" not in str(caught.value)


def test_a_kind_of_input_that_does_not_exist():
    with pytest.raises(SpaError, match="zebras") as caught:
        pipeline.prune(DIGITS, Recipe(scorer="obspa", probe="zebras", **FEW))
    assert caught.value.exit_code == 2
