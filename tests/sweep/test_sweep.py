"""Sweeps: rows that equal single runs, a search that finds the edge, and work that is shared."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections import Counter

import pytest

import spa
from spa import pipeline
from spa.cli.main import run
from spa.errors import ReadError, TargetError, UsageError, VerifyError
from spa.events import Done
from spa.labels import IndexMap
from spa.pipeline.trials import SIZE
from spa.recipe import GATES, QUALITY, Recipe
from spa.reports import sweep as data
from spa.reports import sweep_plot
from spa.trace import MisplacedError
from tests.carried import DIGITS
from tests.gates import judges

FAST = {"scorer": "l2", "verify": "run"}


@pytest.fixture(scope="module")
def listed():
    return spa.sweep(DIGITS, [0.5, 0.1, 0.3, 0.3, 0.999], max_drift=0.9, **FAST)


@pytest.fixture
def shell(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run(["sweep", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# A list


def test_a_row_is_what_a_single_run_says(listed):
    rows = {row["ratio"]: row for row in listed["rows"]}
    assert [*rows] == [0.0, 0.1, 0.3, 0.5, 0.999]
    for ratio in (0.1, 0.3, 0.5):
        row = rows[ratio]
        made = ratio if row["instead"] is None else row["instead"]
        report = spa.prune(DIGITS, made, budget_bytes=10**9, **FAST).report
        output = report["output"]
        assert {n: row[n] for n in data.SIZES} == {n: output[n] for n in data.SIZES}
        assert row["drift"] == pytest.approx(max(report["verify"]["drift"].values()), abs=1e-9)
        assert row["reduction"] == report["reduction"]["macs"] >= ratio
        assert row["latency_ms"] > 0 and row["speedup"] > 0 and row["seconds"] > 0


def test_gates_mark_what_passes(listed):
    states = {row["ratio"]: row["status"] for row in listed["rows"]}
    drifts = {row["ratio"]: row["drift"] for row in listed["rows"]}
    assert states[0.0] == "original" and states[0.999] == "unreachable"
    for ratio in (0.1, 0.3, 0.5):
        assert states[ratio] == ("passed" if drifts[ratio] <= 0.9 else "missed")
    assert listed["best"] == max(r for r, state in states.items() if state == "passed")
    assert listed["gates"] == {"max_drift": 0.9} and listed["exit_code"] == 0


def test_the_original_comes_first(listed):
    first = listed["rows"][0]
    assert first["bytes"] == DIGITS.stat().st_size and first["params"] == listed["input"]["params"]
    assert first["drift"] == 0 and first["latency_ms"] > 0


@pytest.mark.parametrize(
    "options", [FAST, {"scorer": "obspa", "samples": 16}, {**FAST, "steps": 2}]
)
def test_the_best_is_byte_for_byte_what_prune_makes(options, tmp_path):
    found = spa.sweep(
        DIGITS, (0.2, 0.3), min_reduction=0.1, output=tmp_path / "swept.onnx", **options
    )
    assert found["best"] == 0.3 and found["output"]["path"] == str(tmp_path / "swept.onnx")
    spa.prune(DIGITS, 0.3, output=tmp_path / "pruned.onnx", **options)
    made = (tmp_path / "swept.onnx").read_bytes()
    assert made == (tmp_path / "pruned.onnx").read_bytes()
    assert found["output"]["bytes"] == len(made) == found["rows"][-1]["bytes"]


def test_work_is_done_once_for_all_ratios():
    stages: Counter[str] = Counter()

    def count(event):
        if isinstance(event, Done):
            stages[event.stage] += 1

    pipeline.sweep(DIGITS, Recipe(scorer="obspa", samples=16), count, ratios=(0.2, 0.3, 0.4))
    assert {name: stages[name] for name in ("load", "probe", "score", "reconstruct")} == {
        "load": 1,
        "probe": 1,
        "score": 1,
        "reconstruct": 3,
    }


def test_the_same_choice_is_made_and_checked_once():
    judge = judges.Judge()
    found = spa.sweep(DIGITS, (0.3, 0.3001), check=judge, max_drop=99, **FAST)
    _, one, two = found["rows"]
    same = {k for k in one if one[k] == two[k]}
    assert {*one} - same == {"ratio", "seconds"} and len(judge.seen) == 2


def test_no_model_passes():
    found = spa.sweep(DIGITS, (0.2, 0.4), max_drift=1e-6, **FAST)
    assert (found["exit_code"], found["status"], found["best"]) == (5, "failed", None)
    assert "no model passes; the nearest miss: at ratio 0.2 the gate max_drift=" in found["error"]
    with pytest.raises(TargetError, match=r"at most .* can be removed, not 99\.8 %"):
        spa.sweep(DIGITS, (0.998, 0.999), **FAST)  # known before anything is scored


# A search


def test_a_search_finds_the_edge(tmp_path):
    """By a check that falls exactly with the parameters, so that the edge is known."""
    limit = 0.3 * judges.weights(DIGITS)
    options = {"of": "params", "round_to": 1, "check": judges.weights, **FAST}
    found = spa.sweep(DIGITS, max_drop=limit, output=tmp_path / "x.onnx", **options)
    states = {row["ratio"]: row for row in found["rows"][1:]}
    best = found["best"]
    assert found["mode"] == "search" and len(states) <= 7
    assert states[best]["drop"] <= limit and judges.weights(tmp_path / "x.onnx") == pytest.approx(
        states[best]["score"]
    )
    above = min(r for r, row in states.items() if row["status"] != "passed")
    assert above - best == pytest.approx(0.01) and states[above]["drop"] > limit
    assert 0.25 < best < 0.35


def test_precision_is_how_finely_it_looks():
    found = spa.sweep(DIGITS, precision=0.25, max_drift=9, **FAST)
    assert {row["ratio"] for row in found["rows"]} <= {0.0, 0.25, 0.5, 0.75}
    assert found["best"] in (0.5, 0.75)


def test_a_search_that_finds_nothing_writes_nothing(tmp_path):
    found = spa.sweep(DIGITS, max_drift=1e-9, output=tmp_path / "x.onnx", **FAST)
    assert found["exit_code"] == 5 and found["best"] is None and found["output"] is None
    assert not [*tmp_path.iterdir()]


def test_sizes_do_not_guide_but_must_be_met(tmp_path):
    options = {"precision": 0.1, "max_drift": 0.9, "output": tmp_path / "x.onnx", **FAST}
    found = spa.sweep(DIGITS, budget_bytes=1000, **options)
    assert found["exit_code"] == 5 and found["best"] is not None and not [*tmp_path.iterdir()]
    assert "is not enough: the gate budget_bytes=1000 failed" in found["error"]
    found = spa.sweep(DIGITS, budget_bytes=DIGITS.stat().st_size, **options)
    assert found["exit_code"] == 0 and (tmp_path / "x.onnx").exists()


# What makes no sense


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing says which models to try"),
        ({"min_speedup": 1.1}, "nothing says which models to try"),
        ({"max_drift": 0.1, "precision": 0.0}, "precision= is a share"),
        ({"ratios": (0.2, 20)}, "write 0.2 to remove 20 %"),
        ({"ratios": (0.2,), "output": "x.onnx"}, "there are none"),
    ],
)
def test_what_makes_no_sense(options, words):
    with pytest.raises(UsageError, match=words):
        spa.sweep(DIGITS, **options)


def test_errors_come_before_anything_is_tried():
    with pytest.raises(ReadError) as caught:
        spa.sweep("no-such-file.onnx", (0.2,))
    assert caught.value.report["command"] == "sweep"
    with pytest.raises(VerifyError, match="original already"):
        spa.sweep(DIGITS, check=judges.always_fails, max_drop=0.1)


def test_every_gate_either_guides_or_is_met_at_the_end():
    """A proof is asked for in every trial, and guides none."""
    assert {*QUALITY, *SIZE, "require_proof"} == {*GATES} and not {*QUALITY} & {*SIZE}


# The shell


def test_the_shell_writes_all_it_is_asked_for(shell, tmp_path):
    code, out, _ = shell(
        *[DIGITS, "--ratios", "0.2,0.4", "-s", "l2", "--verify", "run", "--max-drift", "5"],
        *["--csv", "s.csv", "--plot", "s.html", "-o", "small.onnx"],
    )
    assert code == 0 and "smallest" in out and "max-drift 5" in out
    assert {p.name for p in tmp_path.iterdir()} == {"s.csv", "s.html", "small.onnx"}
    rows = [*csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text()))]
    assert [row["status"] for row in rows] == ["original", "passed", "passed"]
    assert int(rows[-1]["bytes"]) == (tmp_path / "small.onnx").stat().st_size
    code, out, _ = shell(
        *[DIGITS, "--ratios", "0.2", "-s", "l2", "--verify", "run", "--max-drift", "5", "--json"],
        *["--csv", "s.csv", "--plot", "s.html", "-o", "small.onnx", "--force"],
    )
    told = {each["kind"]: each["path"] for each in json.loads(out)["files"]}
    assert told == {"model": "small.onnx", "table": "s.csv", "plot": "s.html"}
    code, _, err = shell(DIGITS, "--ratios", "0.2", "--max-drift", "5", "-o", "small.onnx")
    assert code == 2 and "--force" in err


def test_the_shell_speaks_json(shell):
    code, out, err = shell(
        *[DIGITS, "--max-drift", "1e-9", "--precision", "0.25", "-s", "l2", "--verify", "run"],
        "--json",
    )
    found = json.loads(out)
    assert code == found["exit_code"] == 5 and found["rows"][1]["status"] == "missed"
    assert "spa: error: no model passes" in err and "missed" in err


def test_the_shell_shows_a_failure_before_anything_is_tried(shell):
    code, _, err = shell(DIGITS, "--check", "tests.gates.judges:always_fails", "--max-drop", "1")
    assert code == 5 and "original already" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ratios", "0.2,x"], "is not written like 0.1,0.2,0.3"),
        (["--ratios", "0.2", "--plot", "x.jpg"], "no plot has the suffix .jpg"),
        (["--ratios", "0.2", "--plot", "x.svg", "--csv", "x.svg"], "named for two things"),
        (["--ratios", "0.2", "--csv", "no/x.csv"], "does not exist"),
        (["--max-drift", "1", "-o", "-"], "no model to standard output"),
        ([], "nothing says which models to try"),
    ],
)
def test_usage(shell, words, said):
    code, _, err = shell(DIGITS, *words)
    assert code == 2 and said in err


# Pictures


def test_a_picture_needs_a_converter_only_as_png(monkeypatch, listed):
    monkeypatch.setattr(sweep_plot, "CONVERTER", "no_such_converter")
    sweep_plot.check_path("x.svg")
    sweep_plot.check_path("x.HTML")
    with pytest.raises(UsageError, match=r"x\.png needs the package no_such_converter"):
        sweep_plot.check_path("x.png")


def test_a_png_is_what_the_converter_makes(monkeypatch, tmp_path, listed):
    (tmp_path / "fake_converter.py").write_text(
        "def svg2png(bytestring):\n    return b'PNG' + bytestring[:4]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sweep_plot, "CONVERTER", "fake_converter")
    sweep_plot.check_path("x.png")
    assert sweep_plot.drawn(listed, "x.png") == b"PNG<svg"


def test_the_svg_stands_alone_and_has_every_ratio(listed):
    from xml.etree import ElementTree

    text = sweep_plot.drawn(listed, "x.svg").decode()
    tree = ElementTree.fromstring(text)
    names = [e.tag.rpartition("}")[2] for e in tree.iter()]
    tried = sum(row["reduction"] is not None for row in listed["rows"])
    assert names.count("circle") == 3 * tried and names.count("polyline") == 3
    assert "var(--" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert any("MACs gone (%)" in (e.text or "") for e in tree.iter())
    assert sum(e.get("class") == "good" for e in tree.iter()) == 3


def test_a_score_has_a_panel_of_its_own():
    found = spa.sweep(DIGITS, (0.2, 0.3), check=judges.weights, max_drop=99, **FAST)
    page = sweep_plot.drawn(found, "x.html").decode()
    assert page.count("<polyline") == 4 and "score lost" in page and "<th>Score</th>" in page


def test_nothing_in_a_name_becomes_markup(tmp_path):
    path = tmp_path / "<b>&x.onnx"
    path.write_bytes(DIGITS.read_bytes())
    found = spa.sweep(path, (0.3,), **FAST)
    for name in ("x.svg", "x.html"):
        assert "<b>" not in sweep_plot.drawn(found, name).decode()


# One ratio leaves no trace in the next


def test_less_freedom_at_one_ratio_is_not_less_at_the_next(monkeypatch):
    """Where a choice does not fit, a copy of the coupling gives up freedom, not the shared one."""
    choosing = importlib.import_module("spa.pipeline.choose")
    real, asked = choosing.misplaced, []

    def misplaced(coupling, alive):
        asked.append(coupling)
        found = real(coupling, alive)
        if len(asked) == 1:  # as if the first choice of all had not fitted somewhere
            ids = coupling.groups[0].cells.ravel()
            maps = (IndexMap(ids, (0,)),)
            error = MisplacedError("does not fit", maps)
            error.node = coupling.graph.nodes[0]
            return [error]
        return found

    monkeypatch.setattr(choosing, "misplaced", misplaced)
    found = spa.sweep(DIGITS, (0.2, 0.3), **FAST)
    assert asked[2] is asked[0] and (asked[1].root != asked[0].root).any()
    assert asked[0].notes.roots().solid.tobytes() == asked[0].root.tobytes()
    report = spa.prune(DIGITS, 0.3, **FAST).report
    assert found["rows"][-1]["params"] == report["output"]["params"]
