"""The other commands."""

from __future__ import annotations

import json
import types
from pathlib import Path

import onnx
import pytest

import spa
from spa.recipe import Recipe

MODEL = onnx.ModelProto(producer_name="pruned").SerializeToString()
CATALOGUE = [
    {"domain": "", "op": "Conv", "status": "ruled", "note": "[g, o]"},
    {"domain": "", "op": "ConvTranspose", "status": "ruled", "note": ""},
    {"domain": "", "op": "LayerNormalization", "status": "lossy", "note": "means"},
    {"domain": "", "op": "NonZero", "status": "frozen", "note": "positions"},
]


@pytest.fixture
def rules(monkeypatch):
    fake = types.SimpleNamespace(catalogue=lambda: CATALOGUE)
    monkeypatch.setitem(__import__("sys").modules, "spa.rules", fake)
    monkeypatch.setattr(spa, "rules", fake, raising=False)


def test_inspect(calls, shell):
    ran = shell("inspect", "net.onnx", "--ignore", "head*", "--strict")
    assert ran.code == 0 and "2 groups can be cut, 1 frozen" in ran.out
    assert calls.last.recipe == Recipe(ignore=("head*",), strict=True)


@pytest.mark.parametrize(
    ("flags", "names", "reasons"),
    [
        ([], ["stem", "layer1", "layer2"], 3),
        (["--groups"], ["layer1", "layer2"], 0),
        (["--frozen"], ["stem"], 3),
    ],
)
def test_inspect_filters_screen_and_json_alike(calls, shell, flags, names, reasons):
    report = json.loads(shell("inspect", "net.onnx", "--json", "-q", *flags).out)
    assert [group["name"] for group in report["groups"]] == names
    assert len(report["frozen"]) == reasons


def test_plan_is_written_beside_the_model(calls, shell):
    ran = shell("plan", "net.onnx", "-r", "0.4", "--of", "params")
    assert ran.code == 0 and json.loads(Path("net.plan.json").read_text()) == {"plan": 1}
    assert calls.last.recipe == Recipe(ratio=0.4, of="params")
    assert "net.plan.json" in ran.out


def test_plan_goes_to_stdout(calls, capsysbinary):
    from spa.cli.main import run

    assert run(["plan", "net.onnx", "-r", "0.4", "-o", "-"]) == 0
    out, err = capsysbinary.readouterr()
    assert json.loads(out) == {"plan": 1} and b"Original" in err


def test_plan_needs_a_ratio_and_keeps_an_existing_file(calls, shell):
    assert "give --ratio" in shell("plan", "net.onnx").err
    Path("mine.json").write_text("mine")
    ran = shell("plan", "net.onnx", "-r", ".5", "-o", "mine.json")
    assert ran.code == 2 and Path("mine.json").read_text() == "mine" and calls.made == []
    assert shell("plan", "net.onnx", "-r", ".5", "-o", "mine.json", "--force").code == 0
    assert shell("plan", "net.onnx", "--bypass", "b", "-o", "alone.json").code == 0
    assert calls.last.recipe.bypass == ("b",) and calls.last.plan.tensors == {}


def test_apply(calls, shell):
    ran = shell("apply", "new.onnx", "plan.json", "-o", "out.onnx", "--max-drift", "0.2")
    assert ran.code == 0 and "Original" in ran.out
    assert (calls.last.model, calls.last.plan) == ("new.onnx", "plan.json")
    assert calls.last.output == "out.onnx" and calls.last.recipe == Recipe(max_drift=0.2)


def test_apply_does_not_write_its_report_over_the_plan(calls, shell):
    Path("plan.json").write_text("mine")
    ran = shell("apply", "new.onnx", "plan.json", "--report", "plan.json")
    assert ran.code == 2 and Path("plan.json").read_text() == "mine" and calls.made == []


def test_apply_to_stdout(calls, capsysbinary):
    from spa.cli.main import run

    assert run(["apply", "new.onnx", "plan.json", "-o", "-", "-q"]) == 0
    assert capsysbinary.readouterr() == (MODEL, b"")


def test_verify(calls, shell):
    ran = shell("verify", "a.onnx", "b.onnx", "--max-drift", "0.3", "--report", "r.xml")
    assert ran.code == 0 and "aux" in ran.out
    assert calls.last.models == ["a.onnx", "b.onnx"]
    assert calls.last.recipe == Recipe(max_drift=0.3)
    assert "<testsuite" in Path("r.xml").read_text()


def test_verify_takes_the_inputs_that_prune_takes(calls, shell):
    argv = "--calib c.npz --probe tokens --input-range 0,255 --mean 1,2,3 --std 4,5,6"
    ran = shell("verify", "a.onnx", "b.onnx", *argv.split())
    assert ran.code == 0, ran.err
    assert calls.last.recipe == Recipe(
        calib="c.npz", probe="tokens", input_range=(0, 255), mean=(1, 2, 3),
        std=(4, 5, 6),
    )  # fmt: skip


def test_verify_fails_with_its_report(calls, shell):
    calls.answer.update(status="failed", exit_code=5, error="y drifts by 0.4.")
    ran = shell("verify", "a.onnx", "b.onnx", "--json")
    assert ran.code == 5 and json.loads(ran.out)["error"] == "y drifts by 0.4."
    assert ran.err.endswith("spa: error: y drifts by 0.4.\n")


@pytest.mark.parametrize("argv", [["verify", "-", "-"], ["bench", "-", "a.onnx", "-"]])
def test_stdin_holds_one_model(calls, shell, argv):
    ran = shell(*argv)
    assert ran.code == 2 and "standard input" in ran.err and calls.made == []


def test_bench(calls, shell):
    ran = shell("bench", "a.onnx", "b.onnx", "--runs", "9", "--warmup", "0", "--threads", "1")
    assert ran.code == 0 and "b.onnx" in ran.out
    assert (calls.last.runs, calls.last.warmup, calls.last.threads) == (9, 0, 1)
    assert calls.last.models == ["a.onnx", "b.onnx"]
    assert json.loads(shell("bench", "a.onnx", "--json").out)["runs"] == 60
    assert calls.last.runs is None, "as many as it takes"


@pytest.mark.parametrize("argv", [[], ["a.onnx", "--runs", "0"], ["a.onnx", "--threads", "0"]])
def test_bench_refuses_nonsense(calls, shell, argv):
    assert shell("bench", *argv).code == 2 and calls.made == []


def test_ops(rules, shell):
    ran = shell("ops")
    assert ran.code == 0 and "LayerNormalization" in ran.out
    assert json.loads(shell("ops", "--json", "-q").out) == CATALOGUE
    picked = json.loads(shell("ops", "conv*", "--json", "-q").out)
    assert [fact["op"] for fact in picked] == ["Conv", "ConvTranspose"]
    picked = json.loads(shell("ops", "--status", "lossy", "--status", "frozen", "--json").out)
    assert [fact["op"] for fact in picked] == ["LayerNormalization", "NonZero"]


def test_doctor(calls, shell):
    assert "1.23" in shell("doctor").out
    assert json.loads(shell("doctor", "--json").out)["spa"] == "0.1.0"


@pytest.mark.parametrize("command", ["inspect", "plan", "verify", "bench"])
def test_every_command_reports_a_failure_as_json(calls, shell, command):
    calls.error = ZeroDivisionError("boom")
    argv = {"verify": ["a.onnx", "b.onnx"], "plan": ["a.onnx", "-r", ".5"]}.get(command, ["a.onnx"])
    ran = shell(command, *argv, "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["command"], report["exit_code"]) == (1, command, 1)
    assert report["input"]["path"] == "a.onnx"


@pytest.mark.parametrize("words", [["apply", "m.onnx", "p.json"], ["verify", "m.onnx", "n.onnx"]])
def test_whoever_times_models_says_with_how_many_threads(calls, shell, words):
    assert shell(*words, "--threads", "3").code == 0
    assert calls.last.recipe.threads == 3
