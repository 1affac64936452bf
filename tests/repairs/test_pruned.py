"""From end to end: a carried model, pruned by error and refitted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import spa
from spa import runtime
from spa.plans import carried_plan
from spa.recipe import Recipe
from tests.carried import DIGITS, MODELS

CALIB = str(MODELS / "digits_calib.npz")


def top1(model):
    """Share of the evaluation set that a model gets right."""
    data = np.load(MODELS / "digits_eval.npz")
    images = data["images"].astype(np.float32) / np.float32(data["scale"])
    session = runtime.session(model, device="cpu", threads=1)
    (logits,) = runtime.run(session, {session.get_inputs()[0].name: images}).values()
    return float((logits.argmax(1) == data["labels"]).mean())


@pytest.fixture(scope="module")
def pruned():
    return spa.prune(str(DIGITS), 0.25, scorer="obspa")


@pytest.fixture(scope="module")
def fitted():
    return spa.prune(str(DIGITS), 0.25, scorer="obspa", calib=CALIB, samples=64)


def test_it_keeps_more_than_magnitudes_do(pruned):
    plain = spa.prune(str(DIGITS), 0.25, scorer="l2", verify="none")
    assert top1(pruned.model) > top1(plain.model) + 0.1


def test_the_report_proves_the_cut_and_names_the_probe(pruned):
    report = pruned.report
    assert report["verify"]["passed"] and report["verify"]["level"] == "equivalence"
    assert report["verify"]["equivalence_error"] < 1e-4
    assert any("images" in note for note in report["notes"])
    assert report["timings"]["reconstruct"] > 0
    assert report["reduction"]["macs"] >= 0.25 - 1e-9


def test_the_model_carries_how_it_was_made(pruned):
    plan = carried_plan(pruned.model)
    assert plan.recipe["scorer"] == "obspa"
    assert "spa.reconstructed" in {entry.key for entry in pruned.model.metadata_props}


def test_it_verifies_against_its_original(pruned, tmp_path):
    path = tmp_path / "small.onnx"
    pruned.save(path)
    report = spa.verify(str(DIGITS), str(path))
    assert report["verify"]["passed"] and report["verify"]["level"] == "run"


def test_real_inputs_are_taken_and_fit_better(pruned, fitted):
    assert fitted.report["notes"] != pruned.report["notes"]
    assert any("given" in note for note in fitted.report["notes"])
    assert top1(fitted.model) > 0.95
    assert Recipe().calib is None and fitted.plan.recipe["calib"] == CALIB


def test_twice_is_the_same_bytes_and_the_input_stays():
    model = onnx.load(DIGITS)
    before = model.SerializeToString(deterministic=True)
    options = {"scorer": "obspa", "samples": 32, "verify": "none"}
    first, second = (spa.prune(model, 0.25, **options).model for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert model.SerializeToString(deterministic=True) == before


def test_without_reconstruction_it_only_cuts():
    options = {"scorer": "obspa", "samples": 32, "verify": "none"}
    cut = spa.prune(str(DIGITS), 0.25, reconstruct=False, **options)
    assert "reconstruct" not in cut.report["timings"]
    assert carried_plan(cut.model).recipe["reconstruct"] is False
    again = spa.apply(str(DIGITS), cut.plan, verify="none")
    weights = [
        {t.name: t.SerializeToString() for t in m.graph.initializer}
        for m in (cut.model, again.model)
    ]
    assert weights[0] == weights[1]
