"""`--of latency` from end to end: on this machine, and on one that does what it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import spa
from spa.cli.main import run
from spa.errors import ReadError, TargetError, UsageError
from spa.pipeline import prune, timed
from spa.recipe import Recipe
from spa.reports import console, to_html, to_markdown
from spa.reports.run import budget
from tests.carried import DIGITS, FASHION
from tests.depth.cases import net
from tests.latency.fakes import blocks, left_of, machine_of, smooth
from tests.nets import deep
from tests.reports.valid import validate

pytest.importorskip("onnxruntime")
FAST = {"scorer": "l2", "verify": "run", "of": "latency", "device": "cpu"}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def steady(monkeypatch):
    """A machine without noise, which counts how often it is asked."""
    return machine_of(monkeypatch, blocks)


def test_the_report_says_what_was_asked_predicted_and_measured(steady, own_cache):
    report = prune(str(FASHION), Recipe(ratio=0.3, threads=1, **FAST)).report
    assert validate(report) == []
    told = report["latency_budget"]
    assert told["measured"] >= 0.3 - told["tolerance"]
    assert report["reduction"]["latency"] == told["measured"]
    assert told["cache"].startswith(str(own_cache)) and told["threads"] == 1
    assert report["latency"]["threads"] == 1
    words = budget(report)
    assert "asked for 30.0%" in words[0] and "1 thread" in words[0]
    assert "the run itself 9.1% (fixed)" in words[2]
    for face in (to_markdown(report), to_html(report)):
        assert "time before: Conv" in face
    assert console.summary(report)


def test_without_the_option_nothing_is_timed_or_told(steady, own_cache):
    report = prune(str(DIGITS), replace(Recipe(ratio=0.3, **FAST), of="macs")).report
    assert not steady.trials and not own_cache.exists()
    assert "latency_budget" not in report and "latency" not in report["reduction"]
    assert budget(report) == []


def test_a_second_run_measures_no_operator_again(steady):
    first = prune(str(DIGITS), Recipe(ratio=0.3, **FAST))
    asked = len(steady.trials)
    second = prune(str(DIGITS), Recipe(ratio=0.3, **FAST))
    assert asked and len(steady.trials) == asked
    assert second.report["latency_budget"]["points"]["measured"] == 0
    assert second.plan.sha256 == first.plan.sha256


def test_the_shell_prunes_plans_and_sweeps_by_time(steady, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    by_time = ["--of", "latency", "-s", "l2", "--device", "cpu"]
    assert run(["prune", str(FASHION), "-r", "0.3", *by_time, "-o", "a.onnx", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reduction"]["latency"] >= 0.29
    assert (tmp_path / "a.onnx").exists()
    assert run(["plan", str(FASHION), "-r", "0.3", *by_time, "-o", "p.json"]) == 0
    assert "% of the time gone" in capsys.readouterr().out
    sweep = ["sweep", str(FASHION), "--ratios", "0.2,0.4,0.95", *by_time, "--json"]
    assert run(sweep) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["status"] for row in rows] == ["original", "passed", "passed", "unreachable"]
    assert 0.19 <= rows[1]["reduction"] < rows[2]["reduction"]
    assert "as measured" in rows[3]["error"]


@pytest.mark.parametrize("ratio", [0.1, 0.4])
def test_a_bypass_counts_towards_the_time_of_the_whole(monkeypatch, ratio):
    """One that is enough leaves all channels; else widths make up for the rest."""
    machine_of(monkeypatch, smooth)
    model = net(deep.resnet, batch="N")
    asked = {"bypass": (spa.inspect(model)["branches"][0]["name"],), "max_layer_ratio": 1.0}
    result = prune(model, Recipe(ratio=ratio, round_to=1, **asked, **FAST), dry_run=True)
    gone = 1 - left_of(model, result.model)
    told = result.report["latency_budget"]
    assert told["asked"] == ratio and told["measured"] == pytest.approx(gone)
    assert gone >= ratio - told["tolerance"]
    assert result.report["reduction"]["latency"] == told["measured"]
    narrow = any(g["channels_after"] < g["channels_before"] for g in result.report["groups"])
    assert narrow == (ratio > 0.3)


def test_a_target_out_of_reach_is_exit_code_4_and_writes_nothing(steady, tmp_path, capsys):
    output = tmp_path / "small.onnx"
    argv = ["prune", str(DIGITS), "-r", "0.95", "--of", "latency", "-s", "l2", "-o", str(output)]
    assert run(argv) == 4
    said = capsys.readouterr().err
    assert "can be removed on this machine, as measured, not 95 %" in said
    assert not output.exists()


def test_a_gate_can_ask_for_what_was_measured(steady, tmp_path, capsys):
    argv = ["prune", str(FASHION), "-r", "0.2", "--of", "latency", "-s", "l2", "--dry-run"]
    assert run([*argv, "--min-reduction", "0.15"]) == 0
    assert run([*argv, "--min-reduction", "0.9"]) == 5
    assert "--min-reduction 0.9 failed" in capsys.readouterr().err


def test_a_model_that_cannot_be_run_is_refused(monkeypatch):
    def fails(*args):
        raise ReadError("no such kernel")

    monkeypatch.setattr(timed, "Whole", fails)
    with pytest.raises(ReadError, match=r"--of latency must run the model.*count --of macs"):
        prune(str(DIGITS), Recipe(ratio=0.3, **FAST))


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_counted(threads):
    with pytest.raises(UsageError, match="--threads"):
        Recipe(threads=threads).validate()


@pytest.mark.slow
def test_on_this_machine(own_cache):
    """Noise and all: a modest share is really gone, or none is claimed; the timings are kept."""
    try:
        outcome = spa.prune(FASHION, 0.15, of="latency", scorer="l2", threads=1, verify="run")
    except TargetError as error:
        assert "as measured" in str(error)
        return
    told = outcome.report["latency_budget"]
    assert told["measured"] >= 0.15 - told["tolerance"]
    assert told["points"]["measured"] > 20 and told["points"]["failed"] == 0
    assert told["overhead_ms"] > 0
    assert len(list(own_cache.glob("latency-*.json"))) == 1
