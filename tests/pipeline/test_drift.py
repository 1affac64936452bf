"""The drift is measured on inputs that nothing was fitted on, and says so."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from spa import pipeline, runtime
from spa.errors import ReadError, UsageError, VerifyError
from spa.events import Note
from spa.recipe import Recipe
from spa.reports import facts
from spa.validate import side_by_side
from tests.carried import DIGITS, MODELS
from tests.graph.small import model
from tests.reports.valid import validate

refitting = importlib.import_module("spa.pipeline.repair")
FEW = {"ratio": 0.3, "scorer": "obspa", "samples": 32, "verify": "run"}
CUT = {"ratio": 0.3, "scorer": "l2"}


@pytest.fixture
def images():
    return np.load(MODELS / "digits_calib.npz")["images"]


def seen(monkeypatch):
    """Every image fitted on, and by session every one that either model is judged on."""
    fitted, judged = [], {}
    reconstruct = refitting.reconstruct

    def fit(coupling, alive, cut, feeds, **options):
        fitted.extend(image for f in feeds for image in f["images"])
        return reconstruct(coupling, alive, cut, feeds, **options)

    def judge(session, feeds):
        judged.setdefault(id(session), []).extend(feeds["images"])
        return runtime.run(session, feeds)

    monkeypatch.setattr(refitting, "reconstruct", fit)
    monkeypatch.setattr(checking, "runtime", SimpleNamespace(run=judge))
    return fitted, judged


def both(judged):
    """The images that both models were judged on."""
    one, other = judged.values()
    assert np.array_equal(one, other)
    return one


checking = importlib.import_module("spa.pipeline.verdict")


def shared(one, other):
    return {a.tobytes() for a in one} & {b.tobytes() for b in other}


def test_synthetic_inputs_are_others_than_those_fitted_on(monkeypatch):
    fitted, judged = seen(monkeypatch)
    report = pipeline.prune(DIGITS, Recipe(**FEW)).report
    verify, judged = report["verify"], both(judged)
    assert (len(fitted), len(judged)) == (32, 64) and not shared(fitted, judged)
    assert (verify["inputs"], verify["rows"], verify["held_back"]) == ("leaves", 64, True)
    assert validate(report) == []


def test_given_rows_are_held_back(monkeypatch, tmp_path, images):
    np.save(tmp_path / "mine.npy", images[:50])
    fitted, judged = seen(monkeypatch)
    heard = []
    recipe = Recipe(**{**FEW, "samples": 1000}, calib=str(tmp_path / "mine.npy"))
    verify = pipeline.prune(DIGITS, recipe, heard.append).report["verify"]
    judged = both(judged)
    assert (len(fitted), len(judged)) == (40, 10) and not shared(fitted, judged)
    assert (verify["inputs"], verify["rows"], verify["held_back"]) == ("calib", 10, True)
    notes = [e.message for e in heard if isinstance(e, Note) and not e.warning]
    assert any(f"inputs from {tmp_path / 'mine.npy'}: images" in note for note in notes)


def test_too_few_rows_are_used_twice_and_that_is_a_warning(tmp_path, images):
    np.save(tmp_path / "mine.npy", images[:4])
    calib = str(tmp_path / "mine.npy")
    report = pipeline.prune(DIGITS, Recipe(**FEW, calib=calib)).report
    assert report["verify"]["held_back"] is False and report["verify"]["rows"] == 4
    assert any("that the weights were fitted on" in w for w in report["warnings"])
    plain = pipeline.prune(DIGITS, Recipe(**CUT, calib=calib)).report  # nothing was fitted
    assert plain["verify"]["held_back"] is True and plain["verify"]["rows"] == 4
    assert not any("fitted on" in w for w in plain["warnings"])


@pytest.mark.parametrize("calib", [None, MODELS / "digits_calib.npz"])
@pytest.mark.parametrize("options", [FEW, CUT], ids=["refitted", "cut"])
def test_verify_measures_the_same(options, calib):
    same = {"calib": None if calib is None else str(calib)}
    outcome = pipeline.prune(DIGITS, Recipe(**options, **same))
    again = pipeline.verify(DIGITS, outcome.model, Recipe(verify="run", **same))
    old, new = outcome.report["verify"], again["verify"]
    for key in ("drift", "cosine", "top1_agreement", "inputs", "rows", "held_back"):
        assert new[key] == pytest.approx(old[key]) if key != "inputs" else new[key] == old[key]
    assert validate(again) == []


def test_the_kind_of_inputs_can_be_chosen():
    found = {
        kind: pipeline.prune(DIGITS, Recipe(**CUT, probe=kind)).report["verify"]
        for kind in ("leaves", "gaussian")
    }
    assert {v["inputs"] for v in found.values()} == {"leaves", "gaussian"}
    assert found["leaves"]["drift"] != found["gaussian"]["drift"]


def test_data_that_does_not_fit_is_an_error_even_where_nothing_is_fitted(tmp_path):
    np.save(tmp_path / "odd.npy", np.zeros((3, 5, 7, 9, 2), np.float32))
    with pytest.raises(UsageError):
        pipeline.prune(DIGITS, Recipe(**CUT, calib=str(tmp_path / "odd.npy")))


def test_where_no_probe_can_be_had_inputs_are_random(monkeypatch):
    def never(*_, **__):
        raise ReadError("no idea")

    monkeypatch.setattr("spa.pipeline.settle.probe_of", never)
    report = pipeline.prune(DIGITS, Recipe(**CUT)).report
    assert (report["verify"]["inputs"], report["verify"]["held_back"]) == ("random", True)
    assert report["verify"]["drift"]["logits"] > 0
    assert (
        "drift is measured on random inputs, as there are no better ones: no idea"
        in (report["notes"])
    )
    assert validate(report) == []


def test_the_gate_stands_on_the_same_figure():
    drift = pipeline.prune(DIGITS, Recipe(**CUT)).report["verify"]["drift"]["logits"]
    pipeline.prune(DIGITS, Recipe(**CUT, max_drift=drift * 1.001))
    with pytest.raises(VerifyError, match="max-drift"):
        pipeline.prune(DIGITS, Recipe(**CUT, max_drift=drift * 0.999))


def test_a_pruned_model_that_refuses_what_the_original_takes_is_wrong(monkeypatch):
    right = runtime.run

    def run(loaded, feeds, names=None):
        if len(feeds["images"]) > 3 and run.turn:
            raise ReadError("refused")
        run.turn = len(feeds["images"]) > 3
        return right(loaded, feeds, names)

    run.turn = False
    monkeypatch.setattr(runtime, "run", run)
    with pytest.raises(VerifyError, match="does not run on inputs that the original takes") as no:
        pipeline.prune(DIGITS, Recipe(**CUT))
    assert no.value.report["verify"]["passed"] is False


def test_runs_of_the_sizes_that_are_timed_are_timed_already(monkeypatch):
    heard = []

    def timed(*given, known, **options):
        heard.append(known)
        return side_by_side(*given, known=known, **options)

    monkeypatch.setattr(checking, "side_by_side", timed)
    assert pipeline.prune(DIGITS, Recipe(**CUT)).report["verify"]["rows"] == 64
    monkeypatch.setattr("spa.validate.inputs.WORK", 1)
    report = pipeline.prune(DIGITS, Recipe(**CUT)).report
    assert report["verify"]["rows"] == 4 and report["latency"]["runs"] > 3
    sixteen_rows, two_rows = heard
    assert sixteen_rows == [] and len(two_rows) == 2 and np.array(two_rows).min() > 0


def test_the_same_model_does_not_drift():
    verify = pipeline.verify(DIGITS, onnx.load(DIGITS), Recipe(verify="run"))["verify"]
    assert verify["drift"]["logits"] == 0 and verify["top1_agreement"] == 1


def headed(tail, outputs, **weights):
    """Two layers over ten features, and what `tail` makes of their output s."""
    rng = np.random.default_rng(0)
    stored = {
        "w": rng.standard_normal((6, 16)).astype(np.float32),
        "v": rng.standard_normal((16, 10)).astype(np.float32),
        **weights,
    }
    body = "h = MatMul(x, w) r = Relu(h) s = MatMul(r, v)"
    return model(f"g (float[N,6] x) => ({outputs}) {{ {body} {tail} }}", stored)


LABELS = headed("y = ArgMax<axis=1, keepdims=0>(s)", "int64[N] y")
TOP = headed("t, y = TopK<axis=1>(s, k)", "float[N,3] t, int64[N,3] y", k=np.array([3]))
STILL = headed("y = Mul(s, none)", "float[N,10] y", none=np.zeros(1, np.float32))
MUCH = Recipe(scorer="random", ratio=0.7, of="channels", round_to=1, seed=1)


@pytest.mark.parametrize("net", [LABELS, TOP], ids=["argmax", "topk"])
def test_labels_that_change_are_told_and_can_be_a_gate(net):
    report = pipeline.prune(net, MUCH).report
    share = report["verify"]["agreement"]["y"]
    assert 0 < share < 0.9 and validate(report) == []
    quality = report["verdicts"]["quality"]
    assert quality["outputs"]["y"] == "broken" and quality["verdict"] == "broken"
    assert net is TOP or "of its labels" in quality["why"]
    assert "labels that stay" in [row.label for row in facts.comparison(report).rows]
    pipeline.prune(net, replace(MUCH, min_agreement=share - 0.001))
    with pytest.raises(VerifyError, match=r"--min-agreement .* agreement is 0\."):
        pipeline.prune(net, replace(MUCH, min_agreement=share + 0.001))


def test_a_gate_on_drift_says_where_no_output_is_a_float():
    with pytest.raises(VerifyError, match="no output is a float"):
        pipeline.prune(LABELS, replace(MUCH, max_drift=0.5))
    with pytest.raises(VerifyError, match="no output tells labels apart"):
        pipeline.prune(STILL, replace(MUCH, min_agreement=0.5))


def test_top1_is_an_agreement(images):
    done = pipeline.prune(DIGITS, Recipe(**CUT)).report
    share = done["verify"]["top1_agreement"]
    pipeline.prune(DIGITS, Recipe(**CUT, min_agreement=share))
    with pytest.raises(VerifyError, match="--min-agreement"):
        pipeline.prune(DIGITS, Recipe(**CUT, min_agreement=min(1.0, share + 1e-6)))


def test_an_output_that_says_nothing_passes_no_gate():
    report = pipeline.prune(STILL, MUCH).report
    assert report["verify"]["drift"] == {"y": None} and validate(report) == []
    assert report["verify"]["unverified"] == {"y": "it does not vary over the rows"}
    quality = report["verdicts"]["quality"]
    assert (quality["verdict"], quality["output"]) == ("unknown", "y")
    assert quality["why"] == "y cannot be judged: it does not vary over the rows"
    with pytest.raises(VerifyError, match=r"output y is not verified .*--calib"):
        pipeline.prune(STILL, replace(MUCH, max_drift=1e9))
