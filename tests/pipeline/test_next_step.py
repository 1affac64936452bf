"""The command that a report ends with is one that can be typed."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import spa
from spa.cli.main import run
from spa.pipeline import next_step as module
from tests.carried import DIGITS, MODELS


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "installed", lambda: False)
    shutil.copy(DIGITS, "net.onnx")
    images = np.load(MODELS / "digits_calib.npz")["images"]
    np.savez("INPUTS", images=images)
    shutil.move("INPUTS.npz", "mine.npz")
    return "net.onnx"


def typed(command):
    """Run a command as a shell does; what stands for inputs is a file of them."""
    words = [word.replace("INPUTS", "mine.npz") for word in shlex.split(command)]
    assert words[0] == "spa"
    assert run([*words[1:], "-q"]) == 0
    return words


def following(report):
    return report["verdicts"]["next"]


def test_weights_alone_lead_to_the_default_and_that_to_inputs_of_ones_own(net):
    cut = spa.prune(net, 0.3, scorer="l1", verify="run", output="net.spa.onnx", ignore=["stem*"])
    command = following(cut.report)
    assert command == f"spa prune net.onnx --ratio 0.3 {IGNORED} {RUN} --force"
    typed(command)
    fitted = spa.prune(net, 0.9, of="params", samples=16, verify="run")
    assert fitted["verdicts"]["quality"]["verdict"] == "broken"
    words = typed(following(fitted.report))
    assert "--calib" in words and words[words.index("--of") + 1] == "params"


IGNORED, RUN = "--ignore 'stem*'", "--set verify=run"


def test_with_inputs_a_milder_cut_comes_next(net):
    asked = {"calib": "mine.npz", "samples": 16, "verify": "run", "output": "small.onnx"}
    command = following(spa.prune(net, 0.9, of="params", **asked).report)
    words = typed(command)
    assert words[words.index("--ratio") + 1] == "0.45" and "-o small.onnx --force" in command


def test_with_torch_the_original_teaches(net, monkeypatch):
    monkeypatch.setattr(module, "installed", lambda: True)
    made = spa.prune(net, 0.9, of="params", samples=16, verify="run", output="small.onnx")
    assert following(made.report) == "spa tune net.onnx small.onnx --time 5m"


def test_what_was_not_looked_at_is_compared(net):
    made = spa.prune(net, 0.3, scorer="l2", verify="none", output="small.onnx")
    assert made["verdicts"]["rewrite"]["verdict"] == "not checked"
    assert made["verdicts"]["quality"]["verdict"] == "unknown"
    typed(following(made.report))


def test_noise_leads_to_inputs(net):
    made = spa.prune(net, 0.1, scorer="l2", probe="gaussian", verify="run", output="small.onnx")
    assert made["verdicts"]["quality"]["verdict"] == "unknown"
    assert "--calib" in typed(following(made.report))
    judged = spa.verify(net, "small.onnx", probe="gaussian")
    assert following(judged.report) == "spa verify net.onnx small.onnx --calib INPUTS"


def test_what_is_good_has_no_next_step(net):
    report = spa.verify(net, net).report
    assert report["verdicts"]["quality"]["verdict"] == "good" and following(report) is None


def test_a_model_without_a_file_has_none(net):
    report = spa.prune(Path(net).read_bytes(), 0.3, scorer="l1", verify="run").report
    assert following(report) is None


def test_a_gate_on_quality(net):
    asked = {"scorer": "l1", "verify": "run"}
    with pytest.raises(spa.VerifyError, match="quality is broken"):
        spa.prune(net, 0.3, min_quality="risky", **asked)
    with pytest.raises(spa.VerifyError, match=r"quality is unknown.*calib"):
        spa.prune(net, 0.3, min_quality="risky", probe="gaussian", **asked)
    report = spa.verify(net, net, min_quality="good").report
    assert report["gates"] == [{"name": "min_quality", "limit": 2.0, "value": 2.0, "passed": True}]
    with pytest.raises(spa.UsageError, match="good or risky"):
        spa.prune(net, 0.3, min_quality="best", **asked)


def test_a_sweep_ends_with_the_smallest_good_one(net):
    found = spa.sweep(net, ratios=[0.05, 0.9], scorer="obspa", samples=32, calib="mine.npz")
    levels = {row["ratio"]: row["quality"] for row in found["rows"]}
    assert levels[0.05] == "good" and levels[0.9] == "broken"
    assert "--ratio 0.05" in found["next"]
    typed(found["next"])
