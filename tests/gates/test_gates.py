"""Gates on every command: what they measure, what they say, and that nothing is written."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys

import numpy as np
import onnx
import pytest

import spa
from spa import reports
from spa.cli.main import run
from spa.errors import UsageError, VerifyError
from tests.carried import DIGITS
from tests.gates import judges
from tests.gates.test_own import SCRIPT
from tests.reports.valid import validate

FAST = {"scorer": "l2", "verify": "run"}
BY_COMMAND = shlex.join([sys.executable, SCRIPT, "weights", "{model}"])
BY_NAME = "tests.gates.judges:weights"


def digits_score():
    return judges.weights(DIGITS)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    spa.prune(DIGITS, 0.4, output=path, **FAST)
    return path


@pytest.fixture
def shell(capsys, monkeypatch, tmp_path):
    """A command line in an empty folder: exit code, report, and the last line of stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run([*map(str, words), "--json", "-q"])
        out, err = capsys.readouterr()
        return code, json.loads(out), (err.strip().splitlines() or [""])[-1]

    return call


# What is told


@pytest.mark.parametrize("check", [BY_COMMAND, BY_NAME, judges.weights])
def test_a_check_that_passes(check, tmp_path):
    report = spa.prune(
        DIGITS, 0.3, check=check, max_drop=20, min_score=1, output=tmp_path / "x.onnx", **FAST
    ).report
    told = report["check"]
    assert told["command"] == (check if isinstance(check, str) else BY_NAME)
    assert told["before"] == pytest.approx(digits_score(), abs=1e-4)
    assert told["after"] == pytest.approx(judges.weights(tmp_path / "x.onnx"), abs=1e-4)
    assert told["drop"] == pytest.approx(told["before"] - told["after"]) and told["error"] is None
    drop, score = report["gates"]
    assert (drop["name"], drop["limit"], drop["value"]) == ("max_drop", 20, told["drop"])
    assert (score["name"], score["limit"], score["value"]) == ("min_score", 1, told["after"])
    assert drop["passed"] and score["passed"] and report["timings"]["check"] > 0
    assert validate(report) == []


@pytest.mark.parametrize("gate", [{"max_drop": 0.001}, {"min_score": 20}])
def test_a_score_that_falls_too_low(gate, tmp_path):
    (name,) = gate
    with pytest.raises(VerifyError, match=f"the gate {name}=.* failed: .*nothing was writ") as e:
        spa.prune(DIGITS, 0.3, check=judges.weights, output=tmp_path / "x.onnx", **gate, **FAST)
    assert not [*tmp_path.iterdir()]
    report = {**e.value.report, "exit_code": 5, "error": str(e.value)}
    assert validate(report) == [] and not report["gates"][0]["passed"]


def test_a_score_may_rise():
    told = spa.prune(DIGITS, 0.3, check=judges.negative, max_drop=0, **FAST).report["check"]
    assert told["drop"] < 0


def test_a_drop_is_no_more_than_its_limit_for_a_rounding_error():
    scores = iter([0.93, 0.92])
    report = spa.prune(DIGITS, 0.3, check=lambda path: next(scores), max_drop=0.01, **FAST).report
    assert report["gates"][0]["passed"]


def test_a_check_that_fails_on_the_pruned_model(tmp_path):
    words = "smaller_fails.* failed on the pruned model .*x.onnx is too small to be any good"
    with pytest.raises(VerifyError, match=words) as caught:
        spa.prune(DIGITS, 0.3, check=judges.smaller_fails, output=tmp_path / "x.onnx", **FAST)
    assert not [*tmp_path.iterdir()]
    told = caught.value.report["check"]
    assert told["before"] == 1 and told["after"] is None and "too small" in told["error"]


def test_a_check_without_a_limit_need_not_give_a_number(tmp_path):
    asked = shlex.join(
        [sys.executable, "-c", "import sys, onnx; onnx.load(sys.argv[1])", "{model}"]
    )
    told = spa.prune(DIGITS, 0.3, check=asked, **FAST).report["check"]
    assert told["before"] is told["after"] is told["error"] is None
    with pytest.raises(VerifyError, match="min_score=1 failed: score could not be measured"):
        spa.prune(DIGITS, 0.3, check=asked, min_score=1, **FAST)


def test_a_check_that_fails_on_the_original_stops_at_once():
    with pytest.raises(VerifyError, match=r"original already .*the data set is gone") as caught:
        spa.prune(DIGITS, 0.3, check=judges.always_fails, max_drop=0.1)
    assert caught.value.report["output"] is None
    with pytest.raises(VerifyError, match=r"original already .*no finite number"):
        spa.prune(DIGITS, 0.3, check=judges.undefined, max_drop=0.1)


def test_without_a_drop_the_original_may_fail():
    """The model's flaw may be what pruning is to cure."""

    def light(path):
        assert judges.weights(path) < 20, "too heavy"
        return 1

    told = spa.prune(DIGITS, 0.3, check=light, min_score=1, **FAST).report["check"]
    assert told["before"] is None and told["after"] == 1 and told["drop"] is None


def test_a_check_that_does_not_exist_is_a_usage_error():
    with pytest.raises(UsageError, match="cannot start"):
        spa.prune(DIGITS, 0.3, check="no-such-program {model}")


def test_other_gates_come_before_the_check():
    judge = judges.Judge()
    with pytest.raises(VerifyError, match="min_reduction="):
        spa.prune(DIGITS, 0.3, check=judge, min_reduction=0.9, **FAST)
    assert len(judge.seen) == 1


def test_models_that_are_no_files_are_checked_too():
    judge = judges.Judge()
    report = spa.prune(DIGITS.read_bytes(), 0.3, check=judge, max_drop=20, **FAST).report
    assert report["check"]["before"] == pytest.approx(digits_score(), rel=0.05)
    assert len(judge.seen) == 2 and not any(map(os.path.exists, judge.seen))


# Bytes


def test_the_budget_is_what_is_written(tmp_path):
    report = spa.prune(DIGITS, 0.3, output=tmp_path / "x.onnx", **FAST).report
    size = (tmp_path / "x.onnx").stat().st_size
    told = spa.prune(DIGITS, 0.3, budget_bytes=size, output=tmp_path / "y.onnx", **FAST).report
    assert told["gates"][0]["value"] == size == report["output"]["bytes"]
    words = f"budget_bytes={size - 1} failed: bytes is {size}; nothing was written, prune more"
    with pytest.raises(VerifyError, match=words) as caught:
        spa.prune(DIGITS, 0.3, budget_bytes=size - 1, output=tmp_path / "z.onnx", **FAST)
    assert not (tmp_path / "z.onnx").exists()
    assert caught.value.report["output"]["bytes"] == size


def test_the_budget_counts_external_data(tmp_path):
    onnx.save(
        onnx.load(DIGITS), tmp_path / "big.onnx", save_as_external_data=True, location="big.bin"
    )
    made = tmp_path / "a-rather-long-name.onnx"
    spa.prune(tmp_path / "big.onnx", 0.3, output=made, **FAST)
    whole = made.stat().st_size + next(tmp_path.glob("a-rather*.data")).stat().st_size
    assert whole > 2 * made.stat().st_size
    asked = {"output": made, "force": True, **FAST}
    report = spa.prune(tmp_path / "big.onnx", 0.3, budget_bytes=whole, **asked).report
    assert report["gates"][0]["value"] == whole
    with pytest.raises(VerifyError, match="budget_bytes="):
        spa.prune(tmp_path / "big.onnx", 0.3, budget_bytes=whole - 1, **asked)
    assert spa.verify(tmp_path / "big.onnx", made, budget_bytes=whole)["gates"][0]["passed"]


# Every command


def test_prune(shell, tmp_path):
    asked = ["prune", DIGITS, "-r", "0.3", "-s", "l2", "--verify", "run", "-o", "x.onnx"]
    code, report, said = shell(*asked, "--check", BY_COMMAND, "--max-drop", "0.5")
    assert code == 5 and report["check"]["drop"] > 0.5 and not [*tmp_path.iterdir()]
    assert said.startswith("spa: error: the gate --max-drop 0.5 failed: drop is ")
    code, report, _ = shell(*asked, "--check", BY_COMMAND, "--max-drop", "20")
    assert code == 0 and report["gates"][0]["passed"] and (tmp_path / "x.onnx").exists()
    code, report, _ = shell(*asked, "--force", "--budget-bytes", "10k")
    assert code == 5 and report["gates"][0]["limit"] == 10240


def test_apply(shell, tmp_path):
    spa.plan(DIGITS, 0.3, scorer="l2").save(tmp_path / "plan.json")
    asked = ["apply", DIGITS, "plan.json", "-o", "x.onnx", "--verify", "run"]
    code, report, _ = shell(*asked, "--check", BY_NAME, "--min-score", "20")
    assert code == 5 and not (tmp_path / "x.onnx").exists()
    code, report, _ = shell(*asked, "--check", BY_NAME, "--min-score", "2", "--budget-bytes", "1M")
    assert code == 0 and [g["name"] for g in report["gates"]] == ["budget_bytes", "min_score"]


def test_verify(shell, small):
    judge = judges.Judge()
    spa.verify(DIGITS, small, check=judge)
    assert judge.seen == [str(DIGITS), str(small)]
    code, report, said = shell("verify", DIGITS, small, "--check", BY_NAME, "--max-drop", "0.5")
    assert code == 5 and "--max-drop 0.5 failed" in said
    assert report["check"]["after"] == judges.weights(small)
    code, report, _ = shell("verify", DIGITS, small, "--check", BY_NAME, "--max-drop", "20")
    assert code == 0 and report["gates"][0]["passed"]
    code, report, _ = shell("verify", DIGITS, small, "--budget-bytes", small.stat().st_size)
    assert code == 0
    code, report, said = shell("verify", DIGITS, small, "--budget-bytes", "1k")
    assert code == 5 and f"failed: bytes is {small.stat().st_size}" in said


def test_zoo(shell, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(DIGITS.read_bytes())
    (tmp_path / "zoo.toml").write_text('["b.onnx"]\nmin-score = 20\n')
    code, summary, _ = shell(
        *["zoo", "in", "-d", "out", "-r", "0.3", "-s", "l2", "--verify", "run", "-j", "1"],
        *["--config", "zoo.toml", "--check", BY_COMMAND, "--max-drop", "20"],
        *["--budget-bytes", "1M"],
    )
    rows = {row["name"]: row for row in summary["models"]}
    assert code == 6 and rows["a.onnx"]["status"] == "pruned"
    assert rows["b.onnx"]["status"] == "missed" and "--min-score 20" in rows["b.onnx"]["error"]
    assert (tmp_path / "out/a.onnx").exists() and not (tmp_path / "out/b.onnx").exists()
    report = json.loads((tmp_path / "out/.zoo/reports/a.onnx.json").read_text())
    assert report["check"]["drop"] > 0 and len(report["gates"]) == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
def test_the_time_limit_ends_a_check(shell, tmp_path):
    code = (
        "import os, pathlib, signal, time; pathlib.Path('pid').write_text(str(os.getpid())); "
        "os.kill(os.getppid(), signal.SIGALRM); time.sleep(999)"
    )  # the limit comes when the check has begun, however long all before it takes
    endless = shlex.join([sys.executable, "-c", code, "{model}"])
    ended, _, said = shell("prune", DIGITS, "-r", "0.3", "--check", endless, "--timeout", "600")
    assert ended == 7 and "time limit" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# Reports


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The reports of a gate that passes, and of one that fails, and of a check that fails."""
    folder = tmp_path_factory.mktemp("reports")
    options = {"budget_bytes": 10**6, "min_reduction": 0.2, **FAST}
    good = spa.prune(DIGITS, 0.3, check=BY_NAME, max_drop=20, **options).report
    found = [good]
    for check in (BY_NAME, "tests.gates.judges:smaller_fails"):
        with pytest.raises(VerifyError) as caught:
            spa.prune(DIGITS, 0.3, check=check, min_score=20, output=folder / "x.onnx", **options)
        report = {**caught.value.report, "exit_code": 5, "error": str(caught.value)}
        found.append({**report, "status": "failed"})
    return found


def test_markdown_reads_well_as_a_job_summary(told):
    good, low, broken = map(reports.to_markdown, told)
    assert "| budget-bytes | 1000000 | " in good and "Checked with tests.gates" in good
    assert "| score | " in good and "NO |" not in good
    assert low.splitlines()[2].startswith("**failed**, exit code 5: the gate ")
    assert "| min-score | 20 | " in low and "NO |" in low
    assert "x.onnx is too small to be any good" in broken.split("Checked with")[1]


def test_junit_has_a_case_per_gate(told):
    from xml.etree import ElementTree

    found = []
    for report in told:
        suite = ElementTree.fromstring(reports.to_junit(report).split("\n", 1)[1])
        bad = {c.get("name"): c[0].get("message") for c in suite if len(c)}
        found.append(({c.get("name") for c in suite}, bad))
    names, bad = found[0]
    assert names == {
        *("pruned", "rewrite", "quality"),
        *("min-reduction", "budget-bytes", "max-drop", "check"),
    }
    assert bad.keys() == {"rewrite", "quality"}  # skipped, with their reasons
    assert found[1][1].keys() == {"rewrite", "quality", "min-score"}
    assert "the limit is 20" in found[1][1]["min-score"]
    assert "too small" in found[2][1]["check"]


def test_html_and_screen_show_the_check(told, capsys):
    from rich.console import Console

    from spa.reports import console

    for report, words in zip(told, ("20", "failed", "too small"), strict=True):
        page = reports.to_html(report)
        assert "Checked with" in page and words in page
        Console(width=200).print(console.summary(report))
        assert words in capsys.readouterr().out.lower()


def test_gates_show_without_verification():
    report = spa.prune(DIGITS, 0.3, scorer="l2", verify="none", budget_bytes=10**6).report
    assert "| budget-bytes |" in reports.to_markdown(report)
    assert "budget-bytes" in reports.to_html(report)


def test_a_check_leaves_the_bytes_of_the_model_alone(tmp_path):
    for name, more in (("a", {}), ("b", {"check": judges.weights, "budget_bytes": 10**6})):
        spa.prune(DIGITS, 0.3, output=tmp_path / f"{name}.onnx", **more, **FAST)
    assert np.array_equal(*((tmp_path / f"{n}.onnx").read_bytes() for n in "ab"))
