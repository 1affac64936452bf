"""From a model to a smaller one, and the account of it."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import io
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spa import pipeline, runtime
from spa.errors import ReadError, SpaError, TargetError, UsageError, VerifyError
from spa.events import Done, Note, Started
from spa.pipeline.gates import check_sizes
from spa.plans import Plan, carried_plan
from spa.recipe import Recipe
from spa.reports import empty_report
from tests.carried import DIGITS, FASHION
from tests.nets import BATCH, MOTIFS, Net
from tests.nets.layers import convolutions, convolved
from tests.reports.valid import validate

cutting = importlib.import_module("spa.pipeline.repair")
checking = importlib.import_module("spa.pipeline.verdict")
choosing = importlib.import_module("spa.pipeline.choose")


def recipe_of(**options):
    """A recipe that cuts only, by weights alone."""
    return Recipe(**{"scorer": "l2", **options})


QUICK = recipe_of(ratio=0.4, verify="none")
STAGES = {
    "probe",
    "load",
    "couple",
    "score",
    "allocate",
    "rewrite",
    "reconstruct",
    "verify",
    "total",
}


def stored(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def metadata(model):
    return {p.key: p.value for p in model.metadata_props}


@pytest.fixture(scope="module")
def pruned():
    return pipeline.prune(DIGITS, recipe_of(ratio=0.4))


# The result


def test_the_report_is_valid_and_complete(pruned):
    report = pruned.report
    assert validate(report) == []
    assert (report["status"], report["exit_code"], report["command"]) == ("ok", 0, "prune")
    assert set(report["timings"]) <= STAGES and report["timings"]["total"] > 0
    assert {"load", "couple", "score", "allocate", "rewrite", "verify"} <= set(report["timings"])
    assert (
        sum(v for k, v in report["timings"].items() if k != "total") <= report["timings"]["total"]
    )
    assert report["peak_rss_bytes"] > 1 << 20
    assert {"python", "onnx", "numpy"} <= set(report["versions"])
    assert any(name.startswith("onnxruntime") for name in report["versions"])
    assert report["input"]["path"] == str(DIGITS)
    assert report["input"]["sha256"] == hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert report["input"]["bytes"] == DIGITS.stat().st_size and report["input"]["opset"] == 17
    assert report["input"]["inputs"] == [["images", "float", ["N", 1, 8, 8]]]
    assert report["output"]["outputs"] == report["input"]["outputs"]
    assert report["output"]["path"] is None and report["output"]["bytes"] is None
    assert json.loads(json.dumps(report)) == report


def test_the_figures_are_those_of_the_file(pruned):
    """Parameters counted from the tensors, MACs from README's figure and the cut weights."""
    report, small = pruned.report, stored(pruned.model)
    floats = [a.size for a in small.values() if a.dtype == np.float32]
    assert report["output"]["params"] == sum(floats)
    assert report["input"]["macs"] == 548_672  # as models/README.md says
    for key in ("params", "macs", "channels"):
        before, after = report["input"][key], report["output"][key]
        assert report["reduction"][key] == pytest.approx((before - after) / before, abs=1e-9)
    assert 0.4 <= report["reduction"]["macs"] <= 0.41
    gone = sum(g["channels_before"] - g["channels_after"] for g in report["groups"])
    assert gone == report["input"]["channels"] - report["output"]["channels"]
    again = pipeline.inspect(pruned.model, recipe_of())
    for key in ("params", "macs"):
        assert again["input"][key] == report["output"][key]


def test_verification_and_latency_are_told(pruned):
    verify, latency = pruned.report["verify"], pruned.report["latency"]
    assert verify["passed"] and verify["level"] == "equivalence" and verify["lossy"] == []
    assert verify["equivalence_error"] < 1e-5 and 0 < verify["drift"]["logits"] < 3
    assert 0 <= verify["top1_agreement"] <= 1 and -1 <= verify["cosine"]["logits"] <= 1
    assert latency["provider"] == "CPUExecutionProvider" and latency["runs"] >= 3
    assert latency["speedup"] > 0 and latency["before_ms"] > 0


def test_names_and_interface_stay(pruned):
    old, new = onnx.load(DIGITS), pruned.model
    assert [n.name for n in new.graph.node] == [
        n.name for n in old.graph.node if n.op_type != "Identity"
    ]
    assert set(stored(new)) <= set(stored(old))
    assert list(new.graph.input) == list(old.graph.input)
    assert list(new.graph.output) == list(old.graph.output)
    assert new.opset_import == old.opset_import and new.producer_name == old.producer_name
    onnx.checker.check_model(new, full_check=True)


def test_kept_weights_are_the_originals(pruned):
    old = stored(onnx.load(DIGITS))
    for name, array in stored(pruned.model).items():
        keep = pruned.plan.tensors.get(name, {}).get("keep", {})
        want = old[name]
        for axis, positions in keep.items():
            want = want.take(positions, int(axis))
        assert np.array_equal(array, want), name


def test_metadata(pruned):
    found = metadata(pruned.model)
    assert found["spa.source_sha256"] == hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert found["spa.plan_sha256"] == pruned.plan.sha256
    assert found["spa.version"] == pruned.report["spa_version"]
    assert carried_plan(pruned.model) == pruned.plan
    assert carried_plan(onnx.load(DIGITS)) is None


def test_other_metadata_stays_and_our_own_is_replaced(pruned):
    model = onnx.ModelProto()
    model.CopyFrom(pruned.model)
    model.metadata_props.add(key="author", value="somebody")
    again = pipeline.prune(model, recipe_of(ratio=0.2, verify="none"))
    found = metadata(again.model)
    assert found["author"] == "somebody" and len(found) == len(again.model.metadata_props)
    assert found["spa.source_sha256"] == again.report["input"]["sha256"]
    assert carried_plan(again.model) == again.plan


def test_the_same_question_gives_the_same_bytes(pruned):
    again = pipeline.prune(DIGITS, recipe_of(ratio=0.4))
    texts = [o.model.SerializeToString(deterministic=True) for o in (pruned, again)]
    assert texts[0] == texts[1]


def test_every_way_to_hand_over_a_model(pruned):
    proto = onnx.load(DIGITS)
    before = proto.SerializeToString(deterministic=True)
    data = DIGITS.read_bytes()
    for model in (str(DIGITS), data, io.BytesIO(data), proto):
        outcome = pipeline.prune(model, QUICK)
        assert outcome.plan.tensors == pruned.plan.tensors, type(model)
        assert stored(outcome.model).keys() == stored(pruned.model).keys()
    assert proto.SerializeToString(deterministic=True) == before


def test_plan_then_apply_is_prune(pruned):
    recipe = recipe_of(ratio=0.4)
    plan = pipeline.make_plan(DIGITS, recipe).plan
    applied = pipeline.apply(DIGITS, Plan.from_json(plan.to_json()), recipe_of())
    told = pipeline.prune(DIGITS, recipe_of(), plan=plan)
    for outcome in (applied, told):
        assert outcome.plan.to_json() == pruned.plan.to_json() == plan.to_json()
        assert outcome.model.SerializeToString(deterministic=True) == (
            pruned.model.SerializeToString(deterministic=True)
        )
    assert validate(plan.report) == [] and plan.report["command"] == "plan"
    assert plan.report["reduction"] == {**pruned.report["reduction"], "bytes": None}
    assert plan.report["groups"] == pruned.report["groups"]
    assert applied.report["command"] == "apply" and validate(applied.report) == []


def test_inspect_says_what_each_group_costs():
    report = pipeline.inspect(FASHION, recipe_of(ignore=("stem.*",))).report
    assert validate(report) == [] and report["reduction"] is None and report["output"] is None
    left_out = [g for g in report["groups"] if g["frozen"]]
    assert [g["name"] for g in left_out] == ["stem.conv.weight"]
    assert left_out[0]["reason"] == "kept whole by --ignore"
    assert all(g["params"] > 0 and g["macs"] > 0 for g in report["groups"])
    assert report["frozen"] == [
        {"reason": "graph output", "op": "output", "node": "logits", "channels": 10}
    ]


# Writing


def test_writing(tmp_path):
    target = tmp_path / "small.onnx"
    outcome = pipeline.prune(DIGITS, QUICK, output=target)
    data = target.read_bytes()
    out = outcome.report["output"]
    assert (out["path"], out["bytes"]) == (str(target), len(data))
    assert out["sha256"] == hashlib.sha256(data).hexdigest()
    assert outcome.report["reduction"]["bytes"] == pytest.approx(
        1 - len(data) / DIGITS.stat().st_size
    )
    assert [p.name for p in tmp_path.iterdir()] == ["small.onnx"]
    assert onnx.load(target) == outcome.model
    with pytest.raises(UsageError, match="already exists"):
        pipeline.prune(DIGITS, QUICK, output=target)
    pipeline.prune(DIGITS, QUICK, output=target, force=True)
    assert target.read_bytes() == data


def test_a_dry_run_does_everything_but_write(tmp_path):
    outcome = pipeline.prune(DIGITS, recipe_of(ratio=0.4), output=tmp_path / "x.onnx", dry_run=True)
    assert outcome.report["status"] == "dry-run" and validate(outcome.report) == []
    assert outcome.report["verify"]["passed"] and not list(tmp_path.iterdir())


def test_saving_later(tmp_path):
    source = tmp_path / "model.onnx"
    source.write_bytes(DIGITS.read_bytes())
    outcome = pipeline.prune(source, QUICK)
    outcome.save(tmp_path / "small.onnx")
    assert onnx.load(tmp_path / "small.onnx") == outcome.model
    with pytest.raises(UsageError, match="already exists"):
        outcome.save(tmp_path / "small.onnx")
    with pytest.raises(UsageError, match="is the input and is never changed"):
        outcome.save(source, force=True)
    assert source.read_bytes() == DIGITS.read_bytes()


def test_the_input_is_never_the_output(tmp_path):
    source = tmp_path / "model.onnx"
    source.write_bytes(DIGITS.read_bytes())
    (tmp_path / "link.onnx").symlink_to(source)
    for target in (source, tmp_path / "link.onnx"):
        with pytest.raises(UsageError, match="never changed"):
            pipeline.prune(source, QUICK, output=target, force=True)
    assert source.read_bytes() == DIGITS.read_bytes()


# Sizes


@pytest.mark.parametrize("sizes", ["zero", "minus", "computed"])
@pytest.mark.parametrize("name", ["shuffle_between_groups", "attention_grouped_queries", "windows"])
def test_a_symbolic_batch_stays_open(name, sizes):
    """Pruned at the size of the analysis, run at others."""
    model = MOTIFS[name].build(batch=BATCH, sizes=sizes)
    outcome = pipeline.prune(model, recipe_of(ratio=0.3, round_to=1))
    session = runtime.session(outcome.model)
    whole = runtime.session(model)
    random = np.random.default_rng(0)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    for batch in (1, 5):
        feed = {"x": random.normal(size=(batch, *shape)).astype(np.float32)}
        (small,) = session.run(None, feed)
        assert small.shape == whole.run(None, feed)[0].shape
        rows = [session.run(None, {"x": feed["x"][k : k + 1]})[0] for k in range(batch)]
        np.testing.assert_allclose(np.concatenate(rows), small, atol=1e-5)


def open_sizes():
    """Height and width are symbols."""
    return convolutions(3, 16, area=("h", "w"), head=5, batch=BATCH)


def test_macs_are_counted_where_the_report_says():
    first = pipeline.inspect(open_sizes(), recipe_of())
    shape = {"x": (4, 3, 10, 20)}
    second = pipeline.inspect(open_sizes(), recipe_of(input_shape=shape))
    assert second["input"]["macs"] == 10 * 20 * 27 * 16 + 16 * 5
    for report in (first, second):
        (note,) = [w for w in report["warnings"] if "MACs are counted at" in w]
        assert "h=" in note and "w=" in note and f"{BATCH}=" not in note
        assert "--input-shape" in note
    assert "h=10, w=20" in second["warnings"][0]


# External data


@pytest.fixture
def external(tmp_path):
    """Digits with its weights in a file beside it."""
    folder = tmp_path / "in"
    folder.mkdir()
    model = onnx.load(DIGITS)
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return folder / "model.onnx"


def test_external_data_in_and_out(external, tmp_path, pruned):
    before = {p.name: p.read_bytes() for p in external.parent.iterdir()}
    target = tmp_path / "out" / "small.onnx"
    target.parent.mkdir()
    outcome = pipeline.prune(external, recipe_of(ratio=0.4), output=target)
    assert {p.name: p.read_bytes() for p in external.parent.iterdir()} == before
    digest = hashlib.sha256(next(target.parent.glob("*.data")).read_bytes()).hexdigest()
    names = sorted(p.name for p in target.parent.iterdir())
    assert names == [f"small.{digest[:12]}.data", "small.onnx"]
    size = sum(p.stat().st_size for p in target.parent.iterdir())
    assert outcome.report["output"]["bytes"] == size
    assert outcome.report["input"]["bytes"] == sum(map(len, before.values()))
    images = {"images": np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)}
    (got,) = runtime.session(target).run(None, images)
    (want,) = runtime.session(pruned.model).run(None, images)
    np.testing.assert_array_equal(got, want)
    report = pipeline.verify(external, target, recipe_of())
    assert report["verify"]["level"] == "equivalence" and report["verify"]["passed"]


def test_external_data_is_not_overwritten_by_its_own_output(external):
    with pytest.raises(UsageError, match=r"never changed|already exists"):
        pipeline.prune(external, QUICK, output=external, force=True)
    (external.parent / "w.bin").rename(external.parent / "x.onnx.data")
    model = onnx.load(external, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "x.onnx.data"
    onnx.save(model, external)
    before = (external.parent / "x.onnx.data").read_bytes()
    with pytest.raises(UsageError, match="never changed"):
        pipeline.prune(external, QUICK, output=external.parent / "x.onnx.data", force=True)
    assert (external.parent / "x.onnx.data").read_bytes() == before
    assert not (external.parent / "x.onnx").exists()


# Outputs that are no tensors


def test_outputs_that_are_sequences_are_compared_too():
    n = Net(opset=17)
    y = convolved(n, 3, 8, 4, area=(4, 4))
    sequence = n.SequenceConstruct(y, n.Relu(y))
    ragged = n.SplitToSequence(y, n.ints(1, 3), axis=1)
    model = n.done(y)
    for name in (sequence, ragged):
        info = helper.make_tensor_sequence_value_info(name, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(info)
    outcome = pipeline.prune(model, recipe_of(ratio=0.4))
    assert outcome.report["verify"]["equivalence_error"] < 1e-5
    known = {name for name, d in outcome.report["verify"]["drift"].items() if d is not None}
    assert known == {y}  # of sequences nothing is said


# Events


def test_stages_are_told_in_order():
    heard = []
    pipeline.prune(DIGITS, recipe_of(ratio=0.4), heard.append)
    # what counts its steps anew within a stage says so, as the same stage
    stages = list(dict.fromkeys(e.stage for e in heard if isinstance(e, Started)))
    assert stages == ["load", "couple", "probe", "score", "allocate", "rewrite", "verify"]
    assert [e.stage for e in heard if isinstance(e, Done)] == stages
    assert all(e.seconds >= 0 for e in heard if isinstance(e, Done))


def test_warnings_are_told_and_kept():
    heard = []
    outcome = pipeline.prune(DIGITS, recipe_of(ratio=0.7), heard.append)
    told = [e.message for e in heard if isinstance(e, Note) and e.warning]
    assert told == outcome.report["warnings"]
    assert outcome.report["verdicts"]["quality"]["verdict"] == "broken"


def test_a_model_that_is_not_faster_earns_a_warning(monkeypatch):
    slow = {"provider": "p", "threads": None, "runs": 3, "before_ms": 1.0, "after_ms": 1.0}
    monkeypatch.setattr(checking, "latency", lambda *_: {**slow, "speedup": 1.0})
    report = pipeline.prune(DIGITS, recipe_of(ratio=0.1, round_to=1)).report
    (warning,) = [w for w in report["warnings"] if "not faster" in w]
    assert "1.00x" in warning and "--round-to auto" in warning
    monkeypatch.setattr(checking, "latency", lambda *_: {**slow, "speedup": 1.5})
    report = pipeline.prune(DIGITS, recipe_of(ratio=0.1)).report
    assert not any("not faster" in w for w in report["warnings"])


class Timed:
    """A session that takes a given time on a clock of its own."""

    def __init__(self, clock, millis):
        self.clock, self.millis = clock, itertools.cycle(millis)

    def run(self, names, feed, options=None):
        self.clock[0] += next(self.millis) / 1e3

    def get_providers(self):
        return ["p"]


@pytest.mark.parametrize(
    ("wanted", "passed", "seconds"),
    [(None, None, 1), (2.44, True, 5), (2.56, False, 5), (9, False, 1), (1, True, 1)],
)
def test_a_gate_on_speed_is_no_matter_of_luck(monkeypatch, wanted, passed, seconds):
    """Ratios between 2 and 3, which never agree: more are taken, and their median decides."""
    clock = [50.0]
    for name, value in {"SECONDS": 1.0, "WARM": 0.05}.items():  # as runs have them, not tests
        monkeypatch.setattr(f"spa.validate.latency.{name}", value)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(checking, "clock_for", lambda *_: time.perf_counter)
    monkeypatch.setattr(checking, "feeds_at", lambda *_: {})
    noisy = [50 + sign * step for step in range(1, 11) for sign in (-1, 1)]
    sessions = [Timed(clock, noisy), Timed(clock, [20])]
    found = checking.latency(None, sessions, recipe_of(ratio=0.1, min_speedup=wanted))
    assert clock[0] - 50 == pytest.approx(seconds, abs=0.2)
    assert found["speedup"] == pytest.approx(2.5, abs=0.051) and found["low"] < 2.5 < found["high"]
    if wanted is not None:
        report = {**empty_report("prune"), "latency": found}
        with contextlib.nullcontext() if passed else pytest.raises(VerifyError, match="speedup"):
            check_sizes(report, recipe_of(ratio=0.1, min_speedup=wanted))


def test_without_verification_nothing_is_run(monkeypatch):
    def never(*_, **__):
        raise AssertionError("a session was made")

    monkeypatch.setattr(runtime, "session", never)
    report = pipeline.prune(DIGITS, QUICK).report
    assert report["verify"] is None and report["latency"] is None and report["status"] == "ok"


# Gates


@pytest.mark.parametrize(
    ("gate", "passes", "fails"),
    [("min_reduction", 0.4, 0.9), ("max_drift", 10.0, 1e-6), ("min_speedup", 1e-6, 1e6)],
)
def test_gates(gate, passes, fails, tmp_path):
    recipe = recipe_of(ratio=0.4, **{gate: passes})
    (told,) = pipeline.prune(DIGITS, recipe).report["gates"]
    assert (told["name"], told["limit"], told["passed"]) == (gate, passes, True)
    with pytest.raises(
        VerifyError, match=f"--{gate.replace('_', '-')} .*nothing was written"
    ) as caught:
        pipeline.prune(DIGITS, recipe_of(ratio=0.4, **{gate: fails}), output=tmp_path / "x.onnx")
    (told,) = caught.value.report["gates"]
    assert told["passed"] is False and math.isfinite(told["value"])
    assert not list(tmp_path.iterdir())


def test_a_gate_takes_the_unit_of_the_ratio():
    recipe = recipe_of(ratio=0.4, of="params", verify="none", min_reduction=0.4)
    report = pipeline.prune(DIGITS, recipe).report
    assert report["gates"][0]["value"] == report["reduction"]["params"]


def test_all_gates_are_told_even_if_the_first_fails():
    recipe = recipe_of(ratio=0.4, min_reduction=0.9, max_drift=10.0, min_speedup=1e-6)
    with pytest.raises(
        VerifyError, match=r"--min-reduction 0.9 failed: reduction is 0.4"
    ) as caught:
        pipeline.prune(DIGITS, recipe)
    assert [g["passed"] for g in caught.value.report["gates"]] == [False, True, True]


def test_a_drift_that_cannot_be_measured_fails_its_gate():
    n = Net(opset=17)
    y = convolved(n, 3, 8, 4, area=(4, 4))
    model = n.done(n.ArgMax(y, axis=1))
    assert pipeline.prune(model, recipe_of(ratio=0.4, verify="run")).report["verify"]["drift"] == {}
    with pytest.raises(VerifyError, match="drift could not be measured"):
        pipeline.prune(model, recipe_of(ratio=0.4, verify="run", max_drift=0.5))


# Failures


def unknown_op():
    n = Net(opset=17)
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 8))
    return n.done(n.Det(n.MatMul(y, y)))


FAILURES = {
    "usage": (DIGITS, recipe_of(ratio=2.0), UsageError, "nothing"),
    "missing": ("no.onnx", QUICK, ReadError, "nothing"),
    "glob": (DIGITS, recipe_of(ignore=("zzz",)), UsageError, "input groups frozen"),
    "target": (
        DIGITS,
        recipe_of(ratio=0.999, max_layer_ratio=1.0),
        TargetError,
        "input groups frozen",
    ),
    "strict": (unknown_op, recipe_of(strict=True), ReadError, "input groups frozen"),
    "gate": (
        DIGITS,
        recipe_of(ratio=0.4, max_drift=0.0),
        VerifyError,
        "input output verify latency",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_an_error_carries_the_report_as_far_as_it_got(kind):
    model, recipe, error, known = FAILURES[kind]
    with pytest.raises(error) as caught:
        pipeline.prune(model() if callable(model) else model, recipe)
    report = caught.value.report
    assert (report["status"], report["exit_code"]) == ("failed", 1)  # the shell says the rest
    complete = {**report, "error": str(caught.value), "exit_code": caught.value.exit_code}
    assert validate(complete) == []
    assert report["timings"]["total"] > 0 and report["versions"]
    for section in known.split() if known != "nothing" else ():
        assert report[section] or section in ("groups", "frozen"), section
    if known == "nothing":
        assert report["input"] is None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ZeroDivisionError("boom"), KeyboardInterrupt(), MemoryError()])
def test_a_bug_or_an_interrupt_carries_it_too(monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("spa.pipeline.score.scored", broken)
    with pytest.raises(type(error)) as caught:
        pipeline.prune(DIGITS, QUICK)
    assert caught.value.report["input"]["params"] == 21_796
    assert "score" in caught.value.report["timings"]


def test_a_wrong_rewrite_is_stopped_and_told(monkeypatch, tmp_path):
    def wrong(coupling, alive, **options):
        model = right(coupling, alive, **options)
        tensor = next(t for t in model.graph.initializer if t.name == "head.conv.weight")
        array = numpy_helper.to_array(tensor)[::-1]
        tensor.CopyFrom(numpy_helper.from_array(array.copy(), tensor.name))
        return model

    right = cutting.rewrite
    monkeypatch.setattr(cutting, "rewrite", wrong)
    with pytest.raises(VerifyError, match="differs from the masked original") as caught:
        pipeline.prune(DIGITS, recipe_of(ratio=0.4), output=tmp_path / "x.onnx")
    assert caught.value.report["verify"]["passed"] is False
    assert not list(tmp_path.iterdir())


def test_a_choice_that_does_not_fit_is_made_again(monkeypatch):
    turns = []

    class Node:
        name = "here"

    def misplaced(coupling, alive):
        turns.append(alive)
        error = ValueError("no box")
        error.node = Node
        return [error] if len(turns) < 3 else []

    monkeypatch.setattr(choosing, "misplaced", misplaced)
    monkeypatch.setattr(choosing, "refine", lambda coupling, errors: coupling)
    assert pipeline.prune(DIGITS, QUICK).report["status"] == "ok" and len(turns) == 3
    turns.clear()
    monkeypatch.setattr(choosing, "ROUNDS", 2)
    with pytest.raises(TargetError, match=r"no choice of channels fits at node here \(no box\)"):
        pipeline.prune(DIGITS, QUICK)


def test_strict_names_the_operator_and_the_way_out():
    with pytest.raises(ReadError, match=r"strict: no rule for Det at node .*leave out strict"):
        pipeline.prune(unknown_op(), recipe_of(strict=True))
    with pytest.raises(SpaError):
        pipeline.inspect(unknown_op(), recipe_of(strict=True))
    report = pipeline.inspect(unknown_op(), recipe_of())
    assert any(f["op"] == "Det" for f in report["frozen"])


@pytest.mark.parametrize("face", [pipeline.inspect, pipeline.make_plan])
def test_options_are_checked_everywhere(face):
    with pytest.raises(UsageError, match="--device"):
        face(DIGITS, recipe_of(device="metal"))


def test_a_plan_that_lost_tensors_says_so():
    from tests.plans.exports import folded

    plan = pipeline.make_plan(DIGITS, recipe_of(ratio=0.4)).plan
    report = pipeline.apply(folded(onnx.load(DIGITS)), plan, recipe_of(verify="none")).report
    (warning,) = [w for w in report["warnings"] if "tensors of the plan" in w]
    assert ".bn." in warning
    edited = copy.deepcopy(plan.tensors)
    edited["head.conv.weight"]["keep"]["0"] = [0]
    with pytest.raises(UsageError, match="the plan does not fit"):
        pipeline.apply(DIGITS, Plan(edited, plan.groups), recipe_of())
    with pytest.raises(UsageError, match="cannot read the plan"):
        pipeline.apply(DIGITS, Path("no.json"), recipe_of())
