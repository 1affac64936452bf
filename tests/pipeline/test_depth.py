"""Branches that spa chooses by itself: as many as keep most, in the order of their importance."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spa
from spa import pipeline
from spa.cli.main import run
from spa.errors import TargetError, UsageError
from spa.graph import read
from spa.pipeline.score import score
from spa.recipe import Recipe
from spa.reports import console, to_html, to_markdown
from tests.depth.cases import net
from tests.latency.fakes import left_of, machine_of, smooth
from tests.nets import deep
from tests.reports.valid import validate

pytest.importorskip("onnxruntime")
QUICK = {"invert": "off", "samples": 64, "device": "cpu"}


def idle(n):
    """Three branches, of which the second adds next to nothing."""
    x = n.conv(n.input("x", 3, 8, 8), 3, 8)
    for scale in (1.0, 1e-3, 1.0):
        made = n.conv(n.Relu(n.conv(x, 8, 8)), 8, 8)
        x = n.Relu(n.Add(x, n.Mul(made, n.const(np.float32(scale)))))
    return n.head(x, 8)


def pruned(make, **options):
    return pipeline.prune(net(make, batch="N"), Recipe(**{**QUICK, **options}), dry_run=True)


def branches_of(make):
    found = spa.inspect(net(make, batch="N"))["branches"]
    return [each["name"] for each in found if each["kind"] == "residual"]


def test_the_branch_that_does_least_goes():
    result = pruned(idle, ratio=0.25, depth="on")
    names = branches_of(idle)
    assert [b["name"] for b in result.report["bypassed"]] == [names[1]]
    assert result.report["depth"]["order"][0]["name"] == names[1]
    assert result.report["reduction"]["macs"] >= 0.25
    assert result.plan.bypass == (names[1],)
    assert result.report["verdicts"]["rewrite"]["verdict"] == "exact"


def test_what_was_tried_is_told_and_the_least_error_chosen():
    report = pruned(idle, ratio=0.4, depth="on").report
    assert validate(report) == []
    told = report["depth"]
    tried = {each["branches"]: each["error"] for each in told["tried"]}
    reached = {k: error for k, error in tried.items() if error is not None}
    assert told["chosen"] == min(reached, key=reached.get) and len(tried) > 1
    assert len(report.get("bypassed", ())) == told["chosen"]
    assert "error of the outputs by the number of branches" in str(to_markdown(report))
    assert "error of the outputs by the number of branches" in to_html(report)
    assert console.summary(report)


def test_a_model_that_keeps_its_branches_is_scored_once(monkeypatch):
    scored = []

    def counted(groups, *rest):
        scored.append(len(groups.bypassed))
        return score(groups, *rest)

    monkeypatch.setattr("spa.pipeline.select.score", counted)
    monkeypatch.setattr(
        "spa.pipeline.depth.least", lambda error, last: min(last, int(error(0) < 0))
    )
    assert pruned(idle, ratio=0.25, depth="on").report["depth"]["chosen"] == 0
    assert scored == [0]


def test_by_default_a_ratio_leaves_all_branches():
    report = pruned(idle, ratio=0.25).report
    assert "bypassed" not in report and "depth" not in report


def test_a_branch_that_is_left_alone_stays():
    names = branches_of(idle)
    report = pruned(idle, ratio=0.25, depth="on", ignore=(names[1],)).report
    assert names[1] not in [b["name"] for b in report.get("bypassed", ())]


def test_widths_may_be_left_alone():
    report = pruned(idle, ratio=0.3, width="off").report
    assert report["reduction"]["macs"] >= 0.3
    assert all(g["channels_after"] == g["channels_before"] for g in report["groups"])


def test_branches_alone_may_not_be_enough():
    with pytest.raises(TargetError, match="--set width=on"):
        pruned(idle, ratio=0.95, width="off")


def test_neither_widths_nor_branches_is_a_contradiction():
    with pytest.raises(UsageError, match="--set width=off and --depth off"):
        pruned(idle, ratio=0.3, width="off", depth="off")


def test_a_model_without_branches_is_narrowed():
    def plain(n):
        x = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
        return n.head(n.Relu(n.conv(x, 8, 16)), 16)

    report = pruned(plain, ratio=0.3, depth="on").report
    assert report["reduction"]["macs"] >= 0.3 and "depth" not in report


@pytest.mark.parametrize("make", [deep.resnet, deep.pre_norm, deep.inverted])
def test_named_branches_go_beside_those_that_are_found(make):
    names = branches_of(make)
    report = pruned(make, ratio=0.4, depth="on", bypass=(names[0],), max_layer_ratio=1.0).report
    assert names[0] in [b["name"] for b in report["bypassed"]]
    assert report["reduction"]["macs"] >= 0.4 - 1e-9


@pytest.fixture
def steady(monkeypatch, tmp_path):
    """A machine without noise, on which weights take time in proportion to their number."""
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    machine_of(monkeypatch, smooth)


@pytest.mark.parametrize("options", [{}, {"width": "off"}, {"depth": "off"}, {"scorer": "l2"}])
def test_a_speedup_is_reached_as_measured(steady, options):
    model = net(deep.resnet, batch="N")
    recipe = Recipe(speedup=1.25, round_to=1, max_layer_ratio=1.0, **QUICK, **options)
    result = pipeline.prune(model, recipe, dry_run=True)
    assert 1 - left_of(read(model).proto, result.model) >= 0.2 - 0.01
    assert validate(result.report) == []
    assert ("bypassed" in result.report) >= (options == {"width": "off"})
    assert "bypassed" not in result.report or options != {"depth": "off"}


def test_a_plan_of_a_speedup_is_carried_out(steady, tmp_path, monkeypatch, capsys):
    import onnx

    monkeypatch.chdir(tmp_path)
    model = net(deep.resnet, batch="N")
    onnx.save(model, "m.onnx")
    asked = ["--speedup", "1.25", "--set", "invert=off", "--set", "max-layer-ratio=1"]
    assert run(["plan", "m.onnx", *asked, "-o", "p.json"]) == 0
    plan = json.loads((tmp_path / "p.json").read_text())
    assert plan["recipe"]["speedup"] == 1.25
    assert run(["apply", "m.onnx", "p.json", "-o", "s.onnx", "--set", "invert=off"]) == 0
    assert 1 - left_of(read(model).proto, onnx.load("s.onnx")) >= 0.19
    capsys.readouterr()


@pytest.mark.parametrize("other", [["--ratio", "0.5"], ["--plan", "p.json"]])
def test_a_speedup_is_asked_for_alone(other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(net(deep.resnet).SerializeToString())
    (tmp_path / "p.json").write_text("{}")
    assert run(["prune", "m.onnx", "--speedup", "1.5", *other]) == 2
    assert "contradict each other" in capsys.readouterr().err


def test_a_speedup_is_more_than_one():
    with pytest.raises(UsageError, match="--speedup must be a factor above 1"):
        Recipe(speedup=1.0).validate()


def test_branches_stay_where_onnxruntime_does_not_know_an_operator():
    def odd(n):
        y = n.conv(n.input("x", 3, 8, 8), 3, 8)
        y = n.Add(y, n.conv(n.Relu(n.conv(y, 8, 16)), 16, 8))
        return n.node("Magic", n.head(y, 8), domain="nobody.knows")

    report = pruned(odd, ratio=0.3, depth="on", scorer="l2", round_to=1).report
    assert "bypassed" not in report and report["reduction"]["macs"] >= 0.3
    assert any("onnxruntime does not know Magic" in words for words in report["warnings"])


@pytest.mark.parametrize("of", ["macs", "params", "channels"])
def test_every_unit_that_is_counted_is_met(of):
    report = pruned(deep.inverted, ratio=0.4, depth="on", of=of, max_layer_ratio=1.0).report
    assert report["reduction"][of] >= 0.4 - 1e-9


def test_where_nothing_reaches_the_ratio_the_farthest_is_told():
    with pytest.raises(TargetError, match="can be removed"):
        pruned(idle, ratio=0.999, depth="on")
