"""One result type for all faces: what it holds, says and saves."""

from __future__ import annotations

import json

import onnx
import pytest

import spa
from spa.errors import UsageError
from spa.events import Note
from spa.recipe import OPTIONS
from tests.carried import DIGITS

FAST = {"scorer": "l2", "round_to": 1}


@pytest.fixture(scope="module")
def pruned():
    return spa.prune(DIGITS, 0.3, **FAST)


@pytest.fixture(scope="module")
def every(pruned):
    return {
        "prune": pruned,
        "plan": spa.plan(DIGITS, 0.3, **FAST),
        "apply": spa.apply(DIGITS, pruned),
        "inspect": spa.inspect(DIGITS),
        "verify": spa.verify(DIGITS, pruned.model),
        "sweep": spa.sweep(DIGITS, (0.2, 0.3), **FAST),
        "bench": spa.bench(DIGITS, DIGITS, runs=3, warmup=0),
    }


def test_every_face_gives_one_and_its_report_is_json(every):
    for name, result in every.items():
        assert type(result) is spa.Result, name
        assert json.loads(json.dumps(dict(result))) == json.loads(json.dumps(result.report))
        assert isinstance(result.model, onnx.ModelProto) == (
            name in ("prune", "apply", "verify", "sweep")
        )
        assert isinstance(result.plan, spa.Plan) == (
            name in ("prune", "plan", "apply", "verify", "sweep")
        )


def test_the_recipe_is_in_every_report_of_a_model(every):
    recipes = {name: made["recipe"] for name, made in every.items() if name != "bench"}
    assert all({*recipe} == {*OPTIONS} for recipe in recipes.values())
    ratios = {name: recipe["ratio"] for name, recipe in recipes.items()}
    assert ratios["prune"] == ratios["plan"] == ratios["sweep"] == 0.3
    assert ratios["apply"] is ratios["inspect"] is ratios["verify"] is None
    assert {recipe["verify"] for recipe in recipes.values()} == {"equivalence"}


def test_what_a_report_says_is_said_as_python_spells_it():
    heard = []
    given = {"reconstruct": False, "samples": 16, "verify": "none", "callback": heard.append}
    result = spa.prune(DIGITS, 0.3, scorer="act", **given)
    words = 'leave out reconstruct=False, or choose scorer="l2"'
    assert any(words in warning for warning in result["warnings"])
    said = [event.message for event in heard if isinstance(event, Note)]
    assert any(words in message for message in said)
    assert not any("--" in message for message in [*said, *result["warnings"], *result["notes"]])


def test_a_line_says_what_happened(every):
    lines = {name: repr(result) for name, result in every.items()}
    assert all("\n" not in line and len(line) < 200 for line in lines.values())
    for name in ("prune", "apply"):
        assert lines[name].startswith(f"<spa.Result: {name} digits.onnx; MACs -3")
        assert "drift" in lines[name] and "rewrite exact, quality" in lines[name]
    assert "as fast" not in lines["plan"] and "MACs -3" in lines["plan"]
    assert "2 ratios" in lines["sweep"] and "best ratio 0.3" in lines["sweep"]
    assert "0 frozen" in lines["inspect"] or "frozen" in lines["inspect"]
    assert lines["bench"].count("digits.onnx") == 2


def test_a_notebook_shows_a_table(every):
    for result in every.values():
        shown = result._repr_html_()
        assert shown.startswith("<p>") and "<table" in shown and shown.count("<tr>") > 2
    odd = spa.Result({**every["prune"].report, "error": "<script>"})
    assert "<script>" not in odd._repr_html_() and "&lt;script&gt;" in odd._repr_html_()


def test_it_saves_the_model_or_else_the_plan(every, tmp_path):
    every["prune"].save(tmp_path / "small.onnx")
    every["apply"].save(tmp_path / "again.onnx")
    assert (tmp_path / "small.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        every["prune"].save(tmp_path / "small.onnx")
    every["plan"].save(tmp_path / "plan.json")
    assert spa.Plan.load(tmp_path / "plan.json") == every["plan"].plan == every["prune"].plan
    with pytest.raises(UsageError, match="inspect makes no model and no plan"):
        every["inspect"].save(tmp_path / "no.onnx")
    with pytest.raises(UsageError, match="no plan to follow"):
        spa.apply(DIGITS, every["inspect"])


def test_errors_are_those_of_the_package():
    with pytest.raises(spa.UsageError):
        spa.prune(DIGITS, 2.0)
    with pytest.raises(spa.ReadError) as caught:
        spa.inspect("no-such-file.onnx")
    assert caught.value.report["status"] == "failed"
    with pytest.raises(spa.TargetError):
        spa.prune(DIGITS, 0.999, **FAST)
    with pytest.raises(spa.VerifyError) as caught:
        spa.prune(DIGITS, 0.3, min_reduction=0.9, **FAST)
    assert caught.value.report["verify"]["passed"] and not caught.value.report["gates"][0]["passed"]


def test_a_result_is_taken_for_its_model(every):
    pruned = every["prune"]
    assert spa.verify(DIGITS, pruned)["verify"]["passed"]
    assert len(spa.bench(DIGITS, pruned, runs=2, warmup=0)["models"]) == 2
    assert spa.inspect(pruned)["input"]["params"] == pruned["output"]["params"]
    with pytest.raises(UsageError, match=r"inspect digits.onnx.* has no model"):
        spa.bench(DIGITS, every["inspect"])


def test_numbers_as_text_are_refused_in_a_sentence():
    for name, text in {"ratio": "0.3", "seed": "3", "min_channels": " 4"}.items():
        with pytest.raises(UsageError, match=f"{name}= .*; write {text.strip()} without quotes"):
            spa.prune(DIGITS, **{name: text})
    with pytest.raises(UsageError, match=r"ratio= .* not 'half'; 0.5 removes half"):
        spa.prune(DIGITS, "half")
