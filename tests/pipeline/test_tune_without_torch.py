"""Tuning is an extra: without PyTorch one sentence says what to install."""

from __future__ import annotations

import sys

import onnx
import pytest

import spa
from spa.allowed import budget
from spa.cli.main import run as shell
from spa.errors import UsageError
from tests.carried import DIGITS


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def test_tune_says_what_to_install(without, tmp_path, capsys):
    small = tmp_path / "small.onnx"
    spa.prune(DIGITS, 0.3, scorer="l2", repair="none", verify="none", output=small)
    with pytest.raises(UsageError, match=r'pip install "onnx-spa\[torch\]"'):
        spa.tune(DIGITS, small)
    code = shell(["tune", str(DIGITS), str(small), "-o", str(tmp_path / "out.onnx")])
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert code == 2 and "onnx-spa[torch]" in line
    assert not (tmp_path / "out.onnx").exists()


def test_what_came_in_is_written_without_torch(without, tmp_path, monkeypatch):
    """Where nothing made it better: a file to the byte, and a model in memory as it is."""
    module = sys.modules["spa.pipeline.tune"]
    monkeypatch.setattr(module, "tune_stage", lambda *_, **__: None)
    monkeypatch.setattr(module, "check_tuning", lambda *_, **__: None)
    small = spa.prune(DIGITS, 0.3, scorer="l2", repair="none", verify="none", output=tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    for k, given in enumerate((tmp_path / "s", data, small.model)):
        result = spa.tune(DIGITS, given, output=tmp_path / f"{k}.onnx", invert="off")
        written = (tmp_path / f"{k}.onnx").read_bytes()
        assert written == data or given is small.model
        assert onnx.load_from_string(written) == small.model == result.model
        assert result.model is not small.model


def test_prune_says_so_before_anything_is_scored(without):
    with pytest.raises(UsageError, match=r"onnx-spa\[torch\]") as error:
        spa.prune(DIGITS, 0.3, scorer="l2", tune="1m")
    assert "couple" not in error.value.report["timings"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("5m", (300, None)), ("90 s", (90, None)), ("1.5h", (5400, None)), ("400steps", (None, 400))],
)
def test_a_budget_is_a_time_or_a_number_of_steps(text, found):
    assert spa.Recipe(tune=text).validate().tune == text
    assert budget(text) == found


@pytest.mark.parametrize("text", ["on", "5", "0s", "m", "0steps", "1.5steps", "5 parsecs", "-3s"])
def test_other_budgets_are_refused(text):
    with pytest.raises(UsageError, match="400steps"):
        spa.Recipe(tune=text).validate()
