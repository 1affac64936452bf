"""Where gates alone say how much may go, the fastest model that passes them is made."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

import spa
from spa.cli.main import run
from spa.config import read_config
from spa.errors import TargetError, VerifyError
from spa.graph import read
from spa.pipeline import trials
from spa.pipeline.trials import PRECISION
from spa.recipe import Recipe
from spa.reports import console, to_html, to_markdown
from tests.depth.cases import net
from tests.nets import deep
from tests.reports.valid import validate
from tests.sweep.steady import FAST, faster, steady

pytest.importorskip("onnxruntime")
__all__ = ["steady"]
NARROW = {**FAST, "depth": "off"}


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Few steps, as each takes a model."""
    monkeypatch.setitem(PRECISION, "speedup", 0.25)
    monkeypatch.setitem(PRECISION, "ratio", 0.1)


def drawn(shown):
    """What a screen shows."""
    stream = io.StringIO()
    Console(file=stream, width=140).print(shown)
    return stream.getvalue()


@pytest.fixture(scope="module")
def blocks():
    return read(net(deep.resnet, batch="N")).proto


@pytest.fixture
def clock(blocks):
    """A check that falls exactly with the time, so that the edge is known."""

    def clock(path):
        return -faster(onnx.load(path), blocks)

    return clock


def test_the_fastest_that_passes_is_made(steady, blocks, clock):
    made = spa.prune(blocks, check=clock, max_drop=0.6, **FAST)
    report = made.report
    assert validate(report) == [] and report["command"] == "prune"
    assert faster(made.model, blocks) <= 1.6 < 1.25 * faster(made.model, blocks)
    found = report["search"]
    states = {row["asked_speedup"]: row["status"] for row in found["rows"][1:]}
    assert found["by"] == "speedup" and states[found["best"]] == "passed"
    assert states[min(k for k in states if k > found["best"])] == "missed"
    assert report["check"]["drop"] <= 0.6 and report["gates"][0]["passed"]
    assert report["recipe"]["speedup"] == found["best"] and report["recipe"]["max_drop"] == 0.6
    alone = spa.prune(blocks, speedup=found["best"], **FAST)
    assert alone.model.graph == made.model.graph
    assert any("a search has not seen" in words for words in report["notes"])
    for text in (drawn(console.summary(report)), to_markdown(report), to_html(report)):
        assert "speeds tried" in text and "fastest" in text and "missed" in text
    assert "times as fast, measured" in to_html(report)


def test_where_nothing_passes_it_is_as_with_a_gate(steady, blocks):
    with pytest.raises(VerifyError, match=r"no model passes; .* at speed-up 1\.25") as caught:
        spa.prune(blocks, max_drift=0.0, **NARROW)
    report = caught.value.report
    assert report["search"]["best"] is None and len(report["search"]["rows"]) > 2
    assert report["recipe"]["ratio"] is report["recipe"]["speedup"] is None
    assert "none passes" in drawn(console.summary(report))
    with pytest.raises(TargetError, match="no speed-up can be reached"):
        spa.prune(blocks, max_drift=9.0, **{**FAST, "ignore": ("*",)})


def test_demands_of_size_must_be_met_by_what_is_found(steady, blocks):
    made = spa.prune(blocks, max_drift=1e9, min_reduction=0.1, **NARROW).report
    assert [gate["name"] for gate in made["gates"]] == ["max_drift", "min_reduction"]
    with pytest.raises(VerifyError, match=r"the fastest model that passes .* is not enough"):
        spa.prune(blocks, max_drift=1e9, budget_bytes=10, **NARROW)


def test_another_unit_is_sought_by_ratio(blocks):
    limit = 0.3 * bytes_of(blocks)
    asked = {"check": lambda path: bytes_of(onnx.load(path)), "max_drop": limit}
    made = spa.prune(blocks, of="params", **asked, **FAST)
    found = made["search"]
    assert found["by"] == "ratio" and made["reduction"]["params"] >= found["best"] >= 0.2
    assert made["recipe"]["ratio"] == found["best"]


def bytes_of(model):
    """Of the weights."""
    return sum(len(each.raw_data) for each in model.graph.initializer)


@pytest.mark.parametrize(
    ("given", "searches"),
    [
        ({}, False),
        ({"max_drift": 0.1}, True),
        ({"min_quality": "good"}, True),
        ({"min_agreement": 0.0}, True),
        ({"max_drift": 0.1, "ratio": 0.5}, False),
        ({"max_drift": 0.1, "speedup": 1.5}, False),
        ({"max_drift": 0.1, "bypass": ("b",)}, False),
        ({"min_speedup": 1.1}, False),
        ({"budget_bytes": 1000}, False),
    ],
)
def test_what_asks_for_a_search(given, searches):
    recipe = Recipe(**given)
    assert recipe.searches is searches
    assert recipe.speedup or recipe.budgeted.ratio == recipe.share == given.get("ratio", 0.5)


def test_a_ratio_makes_a_plain_gate(blocks):
    report = spa.prune(blocks, 0.3, max_drift=1e9, **FAST).report
    assert "search" not in report and report["reduction"]["macs"] >= 0.3
    assert spa.prune(blocks, **FAST)["recipe"]["ratio"] == 0.5


def test_the_shell_and_a_config_search_too(steady, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(blocks, "m.onnx")
    (tmp_path / "spa.toml").write_text(
        'max-drift = 1e9\nscorer = "l2"\nverify = "run"\ninvert = "off"\ndepth = "off"\n'
    )
    assert read_config("spa.toml", ["max_drift", "scorer", "verify", "invert", "depth"])
    assert run(["prune", "m.onnx", "--config", "spa.toml", "-o", "s.onnx", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["search"]["best"] == told["recipe"]["speedup"] and "speeds tried" in err
    assert (tmp_path / "s.onnx").exists()
    assert run(["prune", "m.onnx", "--set", "verify=run"]) == 2
    assert "for the fastest model that passes" in capsys.readouterr().err
    monkeypatch.setenv("SPA_PRUNE_MAX_DRIFT", "1e-12")
    asked = ["-s", "l2", "--depth", "off", "--set", "verify=run", "--set", "invert=off"]
    asked += ["-o", "t.onnx"]
    assert run(["prune", "m.onnx", *asked]) == 5
    out, err = capsys.readouterr()
    assert "no model passes" in err and "missed" in out and not (tmp_path / "t.onnx").exists()
    assert run(["prune", "m.onnx", *asked, "--set", "verify=none"]) == 2


@pytest.mark.parametrize(("factor", "kept"), [(1.0 + 1e-4, True), (30.0, False)])
def test_what_is_found_is_tuned_and_judged_again(steady, blocks, monkeypatch, factor, kept):
    """By default once, at the end; what passes no longer then stays as it was."""
    tuned = []

    def heal(made, original, settled, context, checkpoints):
        model = onnx.ModelProto()
        model.CopyFrom(made.model)
        for each in model.graph.initializer:
            values = numpy_helper.to_array(each)
            if values.dtype.kind == "f":
                changed = (values * factor).astype(values.dtype)
                each.CopyFrom(numpy_helper.from_array(changed, each.name))
        tuned.append(model)
        return replace(made, model=model)

    plain = spa.prune(blocks, max_drift=3.0, **NARROW)
    monkeypatch.setattr(trials, "heal", heal)
    made = spa.prune(blocks, max_drift=3.0, **NARROW)
    assert len(tuned) == 1 and made["search"]["best"] == plain["search"]["best"]
    (drift,) = made["verify"]["drift"].values()
    assert drift <= 3.0 and (made.model.graph != plain.model.graph) is kept
    assert (drift != max(plain["verify"]["drift"].values())) is kept
    assert any("not tuned" in words for words in made["warnings"]) is not kept
