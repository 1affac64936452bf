"""`verify`, `bench` and `doctor`: what exists already, looked at again."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spa import devices, pipeline, runtime
from spa.errors import ReadError, UsageError, VerifyError
from spa.recipe import Recipe
from tests.carried import DIGITS, FASHION
from tests.plans.exports import tuned, with_batch
from tests.reports.valid import validate

RUN = Recipe(verify="run")
CUT = Recipe(ratio=0.2, scorer="l2", verify="none")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "digits.spa.onnx"
    pipeline.prune(DIGITS, Recipe(ratio=0.3, scorer="l2", verify="none"), output=path)
    return path


def without(path, *keys):
    """The model without some of its metadata."""
    model = onnx.load(path)
    kept = [p for p in model.metadata_props if p.key not in keys]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model


def with_plan(path, value):
    model = without(path, "spa.plan")
    model.metadata_props.add(key="spa.plan", value=value)
    return model


def spoilt(path):
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "head.conv.weight")
    array = numpy_helper.to_array(tensor)[::-1].copy()
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


# verify


def test_a_model_that_spa_wrote_is_held_to_its_plan(small):
    report = pipeline.verify(DIGITS, small, RUN)
    assert validate(report) == [] and report["status"] == "ok"
    verify = report["verify"]
    assert verify["level"] == "equivalence" and verify["passed"]
    assert verify["equivalence_error"] < 1e-5 and 0 < verify["drift"]["logits"] < 3
    assert report["output"]["path"] == str(small)
    assert report["output"]["bytes"] == small.stat().st_size
    assert report["reduction"]["macs"] >= 0.3 and report["reduction"]["bytes"] > 0
    assert report["ops"]["before"]["Conv"] == report["ops"]["after"]["Conv"]
    assert report["latency"]["runs"] >= 3


def test_a_spoilt_model_is_caught(small):
    words = r"differs from the masked original .*; if its weights were changed on purpose"
    with pytest.raises(VerifyError, match=words) as caught:
        pipeline.verify(DIGITS, spoilt(small), RUN)
    assert caught.value.report["verify"]["passed"] is False
    assert caught.value.report["input"]["path"] == str(DIGITS)


def test_a_refitted_model_is_not_held_to_the_masked_original():
    outcome = pipeline.prune(DIGITS, Recipe(ratio=0.2, scorer="l2", reconstruct=True, samples=8))
    assert any(p.key == "spa.reconstructed" for p in outcome.model.metadata_props)
    assert pipeline.verify(DIGITS, outcome.model, RUN)["verify"]["level"] == "run"
    with pytest.raises(VerifyError, match="weights that were kept are refitted"):
        pipeline.verify(DIGITS, outcome.model, RUN, level="equivalence")
    again = pipeline.apply(outcome.model, pipeline.make_plan(outcome.model, CUT), CUT)
    assert not any(p.key == "spa.reconstructed" for p in again.model.metadata_props)


def test_level_run_does_not_look_at_the_plan(small):
    report = pipeline.verify(DIGITS, spoilt(small), RUN, level="run")
    assert report["verify"]["level"] == "run" and report["verify"]["equivalence_error"] is None


def test_a_model_without_a_plan_is_run(small):
    report = pipeline.verify(DIGITS, without(small, "spa.plan"), RUN)
    assert report["verify"]["level"] == "run" and report["verify"]["drift"]["logits"] > 0
    same = pipeline.verify(DIGITS, DIGITS, RUN)
    assert same["verify"]["drift"]["logits"] == 0 and same["reduction"]["macs"] == 0


def test_a_fine_tuned_original_is_another_original(small):
    report = pipeline.verify(tuned(onnx.load(DIGITS)), small, RUN)
    assert report["verify"]["level"] == "run"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "no base64 !",
        base64.b64encode(b"no zlib").decode(),
        base64.b64encode(zlib.compress(b"no json")).decode(),
        base64.b64encode(zlib.compress(b"[]")).decode(),
        base64.b64encode(zlib.compress(b'{"plan_version": 1, "tensors": []}')).decode(),
        base64.b64encode(zlib.compress(b"\xff\xfe")).decode(),
        "Ünicode",
    ],
)
def test_a_damaged_plan_in_the_metadata_is_no_plan(small, value):
    model = with_plan(small, value)
    assert pipeline.verify(DIGITS, model, RUN)["verify"]["level"] == "run"
    with pytest.raises(VerifyError, match=r"equivalence cannot be checked: .*carries no plan"):
        pipeline.verify(DIGITS, model, RUN, level="equivalence")


def test_equivalence_can_be_demanded(small):
    report = pipeline.verify(DIGITS, small, RUN, level="equivalence")
    assert report["verify"]["equivalence_error"] < 1e-5
    with pytest.raises(VerifyError, match=r"equivalence cannot be checked: .*plan does not fit"):
        pipeline.verify(FASHION, with_ports(onnx.load(small), FASHION), RUN, level="equivalence")


def with_ports(model, like):
    """The model under the interface of another, so that it gets as far as its plan."""
    result = onnx.load(like)
    result.metadata_props.extend(model.metadata_props)
    return result


def test_gates_of_verify(small):
    assert pipeline.verify(DIGITS, small, Recipe(verify="run", min_reduction=0.3, max_drift=5.0))
    with pytest.raises(VerifyError, match=r"--max-drift 0.001 failed: drift is") as caught:
        pipeline.verify(DIGITS, small, Recipe(verify="run", max_drift=0.001))
    assert caught.value.report["gates"][0]["passed"] is False


def identity(name="x", kind=TensorProto.FLOAT, shape=("N", 4), out="y", size=4):
    """Takes `name`, gives `out`."""
    x = helper.make_tensor_value_info(name, kind, shape)
    y = helper.make_tensor_value_info(out, kind, ("N", size))
    nodes = [helper.make_node("Slice", [name, "zero", "size", "one"], [out])]
    stored = {"zero": 0, "size": size, "one": 1}
    tensors = [numpy_helper.from_array(np.array([v], np.int64), k) for k, v in stored.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (identity(name="z"), r"different inputs \(x, z\)"),
        (identity(out="z"), r"different outputs \(y, z\)"),
        (identity(kind=TensorProto.DOUBLE), "x is float32 in one model and float64 in the other"),
        (identity(size=3), r"output y .* has shape \(\d, 3\) where the original has \(\d, 4\)"),
        (identity(shape=("N", 5)), "the second model does not run on inputs of the first"),
    ],
)
def test_models_that_do_not_belong_together(other, words):
    with pytest.raises(VerifyError, match=words) as caught:
        pipeline.verify(identity(), other, RUN)
    assert "\n" not in str(caught.value)
    assert caught.value.report["verify"]["passed"] is False


def test_a_second_model_bound_to_one_batch_is_caught(small):
    bound = with_batch(without(small, "spa.plan"), 1)
    with pytest.raises(VerifyError, match="does not run on inputs of the first"):
        pipeline.verify(DIGITS, bound, RUN)
    bound = pipeline.verify(with_batch(onnx.load(DIGITS), 1), bound, RUN)
    assert bound["verify"]["passed"]


@pytest.mark.parametrize("pair", [("no.onnx", DIGITS), (DIGITS, "no.onnx"), (DIGITS, b"junk")])
def test_a_model_that_cannot_be_read(pair):
    with pytest.raises(ReadError) as caught:
        pipeline.verify(*pair, RUN)
    assert caught.value.report["command"] == "verify"


# bench


def test_bench_measures_files_side_by_side(small):
    found = pipeline.bench(
        [DIGITS, small, small.read_bytes()], Recipe(), runs=4, warmup=1, threads=1
    )
    assert (found["runs"], found["warmup"], found["threads"]) == (4, 1, 1)
    assert found["provider"] == "CPUExecutionProvider"
    first, second, third = found["models"]
    assert [m["path"] for m in found["models"]] == [str(DIGITS), str(small), "-"]
    assert first["speedup"] == 1 and second["macs"] == third["macs"] < first["macs"]
    assert second["bytes"] == third["bytes"] == small.stat().st_size
    for row in found["models"]:
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["p90_ms"] and row["load_ms"] > 0


def test_bench_runs_each_model_on_its_own_inputs(monkeypatch):
    fed = []
    run = runtime.run
    monkeypatch.setattr(runtime, "run", lambda s, feeds: fed.append({*feeds}) or run(s, feeds))
    pipeline.bench([DIGITS, identity()], Recipe(), runs=1, warmup=0)
    assert fed == [{"images"}, {"x"}]


def test_bench_takes_sizes():
    shape = {"images": (16, 1, 8, 8)}
    found = pipeline.bench([DIGITS], Recipe(input_shape=shape), runs=1, warmup=0)
    assert found["models"][0]["macs"] == 548_672  # per sample


def test_a_bench_that_cannot_read_says_so():
    with pytest.raises(ReadError, match="does not exist"):
        pipeline.bench([DIGITS, "no.onnx"], Recipe(), runs=1)
    with pytest.raises(UsageError, match="seed must be"):
        pipeline.bench([DIGITS], Recipe(seed=-1), runs=1)


# doctor


def test_doctor():
    found = pipeline.doctor()
    assert "CPUExecutionProvider" in found["providers"] and found["processors"] >= 1
    assert found["opsets"].startswith("7 to ") and int(found["opsets"].split()[-1]) >= 21
    assert found["versions"]["onnx"] == onnx.__version__ and found["spa"]
    assert all("CUDA" in problem for problem in found["problems"]), "of a machine without a GPU"


def test_doctor_names_problems_and_their_remedy(monkeypatch):
    import importlib

    module = importlib.import_module("spa.pipeline.machine")

    def none():
        raise ReadError('onnxruntime is not installed; install it with pip install "onnx-spa[cpu]"')

    monkeypatch.setattr(devices, "library", none)
    both = {"onnxruntime": "1", "onnxruntime-gpu": "1"}
    monkeypatch.setattr(module, "versions", lambda: both)
    missing, clash = module.doctor()["problems"]
    assert "pip install" in missing and "overwrite each other" in clash
