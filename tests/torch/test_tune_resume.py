"""Runs of which a tuning is a part go on with it: a sweep when told to, a zoo by itself."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

import spa  # noqa: E402
from spa.cli.main import run as shell  # noqa: E402
from spa.errors import UsageError  # noqa: E402
from spa.zoo import job  # noqa: E402
from tests.carried import DIGITS  # noqa: E402
from tests.torch.ended import TRIED, Interrupts  # noqa: E402

pytestmark = pytest.mark.usefixtures("alone")
STEPS = 24
FAST = {"scorer": "l2", "repair": "none", "samples": 192, "threads": 1, "invert": "off"}


class Second(Interrupts):
    """Presses Ctrl-C in the second tuning of a run."""

    seen = 0

    def reached(self):
        self.seen += 1
        if self.seen == 2:
            super().reached()


def swept(output, **options):
    """Two ratios whose models both pass; the harder one is written."""
    more = {"tune": f"{STEPS}steps", "max_drift": 10.0, **FAST}
    return spa.sweep(DIGITS, [0.2, 0.4], output=output, force=True, **more, **options)


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "tune").glob("*"))


def test_a_sweep_that_was_interrupted_goes_on_with_what_it_tuned(tmp_path):
    """What was tuned to the end is taken as it was, and the rest as if nothing had been."""
    whole = swept(tmp_path / "whole.onnx")
    assert not kept(tmp_path)
    with pytest.raises(KeyboardInterrupt, match=r"at ratio 0\.4; resume=True goes on") as error:
        swept(tmp_path / "rest.onnx", callback=Second(TRIED + 10))
    assert error.value.report["command"] == "sweep"
    assert not (tmp_path / "rest.onnx").exists() and len(kept(tmp_path)) == 2
    steps = Interrupts(-1)
    rest = swept(tmp_path / "rest.onnx", resume=True, callback=steps)
    assert steps.taken == STEPS - 10
    assert (tmp_path / "rest.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    assert [row["drift"] for row in rest["rows"]] == [row["drift"] for row in whole["rows"]]
    assert not kept(tmp_path)


def test_where_nothing_is_kept_nobody_is_told_that_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SPA_CACHE", "off")
    with pytest.raises(KeyboardInterrupt, match=r"at ratio 0\.2$"):
        swept(None, callback=Interrupts(TRIED + 10))
    part = spa.prune(DIGITS, 0.4, tune="24steps", callback=Interrupts(TRIED + 10), **FAST)
    assert part["status"] == "interrupted" and not part["tune"]["resumable"]
    assert part["error"].endswith("checked and delivered")


def test_only_a_sweep_that_was_begun_can_be_resumed(tmp_path, capsys):
    with pytest.raises(UsageError, match="none is asked for"):
        spa.sweep(DIGITS, [0.2], resume=True, **FAST)
    with pytest.raises(UsageError, match="no unfinished run"):
        swept(None, resume=True)
    words = ["sweep", str(DIGITS), "--ratios", "0.2", "--resume", "--tune", "8steps"]
    assert shell(words) == 2 and "leave out --resume" in capsys.readouterr().err


def ended_after(count, monkeypatch):
    """Let a tuning be ended when it has asked so many times; returns how often it did."""
    asked = []

    @contextmanager
    def stoppable():
        asked.clear()
        yield lambda: asked.append(None) or len(asked) > count

    monkeypatch.setattr("spa.pipeline.tuning.stoppable", stoppable)
    return asked


def test_a_model_of_a_zoo_goes_on_with_its_tuning_when_the_zoo_is_run_again(tmp_path, monkeypatch):
    """And until then nothing is said to be delivered."""

    def carried_out(name):
        places = {n: str(tmp_path / f"{name}.{n}.json") for n in ("output", "looked", "report")}
        recipe = {"ratio": 0.4, "tune": f"{STEPS}steps", **FAST}
        order = {"name": name, "source": str(DIGITS), "sha256": None, "known": None}
        code = job.carry_out({**order, "timeout": None, "recipe": recipe, **places})
        return code, json.loads((tmp_path / f"{name}.report.json").read_text())

    ended_after(TRIED + 10, monkeypatch)
    code, report = carried_out("rest")
    assert code == report["exit_code"] == 130
    assert report["status"] == "interrupted" and report["tune"]["steps"] == 10
    assert report["error"] == "interrupted; run the same command again to go on"
    asked = ended_after(1000, monkeypatch)
    assert carried_out("rest")[0] == 0 and len(asked) == STEPS - 10
    assert carried_out("whole")[0] == 0 and len(asked) == TRIED + STEPS
    rest, whole = (tmp_path / f"{name}.output.json" for name in ("rest", "whole"))
    assert rest.read_bytes() == whole.read_bytes()
