"""Sweeps by speed on a machine without noise: what is shared, what is told, and what is found."""

from __future__ import annotations

import json
from collections import Counter

import onnx
import pytest

import spa
from spa import pipeline
from spa.cli.main import run
from spa.errors import UsageError
from spa.events import Done
from spa.graph import read
from spa.pipeline import depth
from spa.pipeline.trials import grid
from spa.recipe import Recipe
from spa.reports import sweep_plot, sweep_text, tried
from tests.depth.cases import net
from tests.nets import deep
from tests.sweep.steady import FAST, faster, steady

pytest.importorskip("onnxruntime")
__all__ = ["steady"]
NARROW = {**FAST, "depth": "off"}


@pytest.fixture(scope="module")
def blocks():
    return read(net(deep.resnet, batch="N")).proto


def test_speeds_are_chosen_as_prune_does_it(steady, blocks, monkeypatch):
    """The order of branches is looked for once, and each choice is that of a run of its own."""
    made: Counter[str] = Counter()
    real = depth.standins
    monkeypatch.setattr(depth, "standins", lambda *each: made.update(["orders"]) or real(*each))
    count = lambda event: made.update([event.stage] if isinstance(event, Done) else [])  # noqa: E731
    asked = (1.5, 1.2, 1.2)
    found = pipeline.sweep(blocks, Recipe(max_drift=1e9, **FAST), count, speedups=asked)
    assert made["orders"] == made["load"] == made["probe"] == 1 and made["depth"] == 2
    rows = found.report["rows"]
    assert [row["asked_speedup"] for row in rows] == [None, 1.2, 1.5]
    assert [row["ratio"] for row in rows] == pytest.approx([0, 1 / 6, 1 / 3])
    assert found.report["best"] == 1.5 and found.report["by"] == "speedup"
    alone = spa.prune(blocks, speedup=1.5, **FAST)
    assert found.plan == alone.plan and found.model == alone.model
    assert faster(found.model, blocks) >= 1.5 * 0.98
    assert rows[2]["speedup_low"] <= rows[2]["speedup"] <= rows[2]["speedup_high"]
    assert found.report["recipe"]["speedup"] == 1.5 and found.report["recipe"]["ratio"] is None


def test_what_is_told_of_speeds(steady, blocks):
    found = spa.sweep(blocks, speedups=(1.2, 50.0), max_drift=1e9, **FAST).report
    assert [row["status"] for row in found["rows"]] == ["original", "passed", "unreachable"]
    assert "Agrees" not in tried.ratios(found).heads  # as no output tells labels
    found["rows"][1]["agreement"] = 0.97
    table = tried.ratios(found)
    assert table.heads[0] == "Asked" and [row[0] for row in table.rows] == ["–", "1.2x", "50x"]
    assert " to " in table.rows[1][table.heads.index("Speed")]
    assert table.rows[1][table.heads.index("Agrees")] == "97.0%"
    assert "2 speeds tried" in sweep_text.headline(found)
    page = sweep_plot.drawn(found, "x.svg").decode()
    assert "times as fast, measured" in page and "labels that stay" in page
    assert "1.2x asked" in page and "50x" not in page  # of which nothing was measured


@pytest.mark.parametrize("options", [{"depth": "off"}, {"width": "off"}])
def test_only_widths_or_only_branches(steady, blocks, options):
    found = spa.sweep(blocks, speedups=(1.15,), max_drift=1e9, **FAST, **options)
    assert found["best"] == 1.15 and bool(found.plan.bypass) == ("width" in options)


@pytest.mark.parametrize("options", [{"depth": "on"}, {"width": "off"}])
def test_a_ratio_may_take_branches_too(blocks, options):
    found = spa.sweep(blocks, (0.2,), max_drift=1e9, **FAST, **options)
    alone = spa.prune(blocks, 0.2, **FAST, **options)
    assert found.plan == alone.plan and bool(found.plan.bypass) >= ("width" in options)
    assert all(row["reduction"] >= row["ratio"] for row in found["rows"][1:])


def test_a_search_by_speed_ends_at_what_fails(steady, blocks):
    """By a check that falls exactly with the time, so that the edge is known."""

    def clock(path):
        return -faster(onnx.load(path), blocks)

    found = spa.sweep(blocks, fastest=True, check=clock, max_drop=0.6, precision=0.2, **NARROW)
    rows = {row["asked_speedup"]: row["status"] for row in found["rows"][1:]}
    states = [rows[asked] for asked in sorted(rows)]
    assert states == sorted(states, key=["passed", "missed"].index) and len({*states}) == 2
    assert found["best"] == max(asked for asked, state in rows.items() if state == "passed")
    above = min(asked for asked, state in rows.items() if state != "passed")
    assert above / found["best"] == pytest.approx(1.2, abs=0.01)
    assert faster(found.model, blocks) <= 1.6 < 1.2 * faster(found.model, blocks)


def test_a_search_by_speed_ends_at_what_is_out_of_reach(steady, blocks):
    found = spa.sweep(blocks, fastest=True, max_drift=1e9, precision=0.5, **NARROW)
    rows = [(row["asked_speedup"], row["status"]) for row in found["rows"][1:]]
    assert {state for _, state in rows} == {"passed", "unreachable"} and rows[0][1] == "passed"
    assert found["best"] == max(k for k, state in rows if state == "passed")
    assert found["exit_code"] == 0


def test_steps_of_speed_grow():
    assert [grid("speedup", 0.05)(k) for k in (1, 2, 14, 28)] == [1.05, 1.1, 1.98, 3.92]
    assert grid("speedup", 0.01)(2) == 1.0201 and grid("ratio", 0.01)(3) == 0.03


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratios": (0.2,), "speedups": (1.5,)}, "contradict each other"),
        ({"ratios": (0.2,), "fastest": True}, "contradict each other"),
        ({"speedups": (0.5,)}, "speedup= must be a factor above 1"),
        ({"fastest": True}, "nothing says which models to try"),
        ({"speedup": 1.5}, "speedups=1.25"),
    ],
)
def test_what_makes_no_sense(blocks, options, words):
    with pytest.raises(UsageError, match=words):
        spa.sweep(blocks, **options)


def test_the_shell_sweeps_speeds(steady, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(blocks, "m.onnx")
    words = ["-s", "l2", "--max-drift", "1e9", "--set", "verify=run", "--set", "invert=off"]
    words += ["--set", "max-layer-ratio=1", "--round-to", "1", "--depth", "off"]
    assert run(["sweep", "m.onnx", "--speedups", "1.2,1.5", *words, "-o", "s.onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["best"] == 1.5 and faster(onnx.load("s.onnx"), blocks) >= 1.5 * 0.98
    assert run(["sweep", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--speedups" in text and "--depth" in text and "--speedup FLOAT" not in text
    assert run(["sweep", "m.onnx", "--speedups", "1.2", *words]) == 0
    out = capsys.readouterr().out
    assert "Asked" in out and "1.2x" in out and "1 speed tried" in out
