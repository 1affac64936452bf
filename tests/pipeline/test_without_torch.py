"""Inputs where there is no torch: as they are made, and a sentence for whoever asks for more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spa
from spa.cli.main import run
from spa.errors import UsageError

MODEL = Path(__file__).parents[2] / "models" / "digits.onnx"


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether torch is installed does not count here."""
    for module in ("invert", "heal"):
        monkeypatch.setattr(f"spa.pipeline.{module}.installed", lambda: False)


def test_inputs_stay_as_made_and_the_report_says_what_torch_brings() -> None:
    plain = spa.prune(MODEL, 0.3, verify="none", invert="off", tune="off")
    auto = spa.prune(MODEL, 0.3, verify="none")
    assert plain.model is not None and auto.model is not None
    assert plain.model.SerializeToString() == auto.model.SerializeToString()
    told = [note for note in auto["notes"] if "onnx-spa[torch]" in note]
    assert len(told) == 2  # one of inputs, one of tuning
    assert not any("torch" in note for note in plain["notes"])


def test_a_plan_says_nothing_of_what_had_no_say() -> None:
    plan = spa.plan(MODEL, 0.3).plan
    assert plan is not None and "invert" not in plan.recipe


def test_who_asks_for_gradients_is_told_what_to_install() -> None:
    with pytest.raises(UsageError, match=r'pip install "onnx-spa\[torch\]"'):
        spa.prune(MODEL, 0.3, invert=10)


@pytest.mark.parametrize("value", [0, -1, "on", float("nan")])
def test_a_budget_is_a_number_above_zero(value: object) -> None:
    with pytest.raises(UsageError, match="seconds above 0"):
        spa.prune(MODEL, 0.3, invert=value)


def test_probe_writes_inputs_as_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "inputs.npz"
    asked = ["probe", str(MODEL), "--plain", "--samples", "40", "-o", str(output)]
    assert run(asked) == 0
    with np.load(output) as arrays:
        (array,) = arrays.values()
    assert array.shape == (40, 1, 8, 8)
    assert "[40, 1, 8, 8]" in capsys.readouterr().out
    assert run(asked) == 2
    assert "--force" in capsys.readouterr().err


def test_probe_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", str(MODEL), "-o", str(tmp_path / "inputs.npz")]) == 2
    told = capsys.readouterr().err
    assert 'pip install "onnx-spa[torch]"' in told and "--plain" in told
    assert not [*tmp_path.iterdir()]
