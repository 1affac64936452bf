"""What is chosen where a person leaves it open, and what goes with what."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spa import pipeline
from spa.errors import ReadError
from spa.plans import Plan
from spa.recipe import Recipe
from tests.carried import DIGITS
from tests.nets import Net
from tests.nets.layers import convolved

AUTO = {"ratio": 0.3, "scorer": "auto", "samples": 16, "verify": "none"}


def never_finite():
    """The logarithm of what is below zero."""
    n = Net(opset=17)
    return n.done(n.Log(n.Neg(n.Abs(convolved(n, 3, 16, 16, 4)))))


def unknown():
    """An operator of nobody's in front of everything."""
    n = Net(opset=17)
    model = n.done(convolved(n, 3, 16, 16, 4))
    first = model.graph.node[0]
    odd = helper.make_node("Odd", [first.input[0]], ["seen"], domain="my.own", name="odd")
    first.input[0] = "seen"
    model.graph.node.insert(0, odd)
    model.graph.value_info.append(helper.make_tensor_value_info("seen", 1, [2, 3, 8, 8]))
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    return model


def refitted(model):
    return any(p.key == "spa.reconstructed" for p in model.metadata_props)


def test_auto_measures_where_it_can():
    outcome = pipeline.prune(DIGITS, Recipe(**AUTO))
    named = pipeline.prune(DIGITS, Recipe(**{**AUTO, "scorer": "obspa"}))
    assert outcome.plan.recipe["scorer"] == "obspa" and refitted(outcome.model)
    assert outcome.model == named.model and outcome.report["warnings"] == []


@pytest.mark.parametrize("make", [never_finite, unknown])
def test_auto_falls_back_with_one_sentence(make):
    outcome = pipeline.prune(make(), Recipe(**AUTO))
    plain = pipeline.prune(make(), Recipe(**{**AUTO, "scorer": "l2"}))
    assert outcome.plan.recipe["scorer"] == "l2" and not refitted(outcome.model)
    assert outcome.plan.tensors == plain.plan.tensors
    (warning,) = (w for w in outcome.report["warnings"] if "refitted" in w)
    assert warning.startswith("channels are judged by l2 and nothing is refitted: ")
    plan = pipeline.make_plan(make(), Recipe(**AUTO)).plan
    assert plan.tensors == plain.plan.tensors and plan.recipe["scorer"] == "l2"


@pytest.mark.parametrize("make", [never_finite, unknown])
@pytest.mark.parametrize(
    "asked", [{"scorer": "obspa"}, {"repair": "full"}, {"reconstruct": True}], ids=str
)
def test_what_was_asked_for_by_name_is_done_or_refused(make, asked):
    with pytest.raises(ReadError) as caught:
        pipeline.prune(make(), Recipe(**{**AUTO, **asked}))
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


def test_a_saliency_file_is_cut_only(tmp_path):
    stored = onnx.load(DIGITS).graph.initializer
    np.savez(tmp_path / "s.npz", **{t.name: np.abs(numpy_helper.to_array(t)) for t in stored})
    recipe = Recipe(ratio=0.3, scorer="auto", saliency=str(tmp_path / "s.npz"), verify="none")
    outcome = pipeline.prune(DIGITS, recipe)
    assert not refitted(outcome.model) and outcome.report["warnings"] == []


@pytest.mark.parametrize("left_out", [{"reconstruct": False}, {"repair": "none"}], ids=str)
def test_measured_scores_without_repair_earn_a_warning(left_out):
    outcome = pipeline.prune(DIGITS, Recipe(**AUTO, **left_out))
    assert not refitted(outcome.model)
    (warning,) = outcome.report["warnings"]
    assert "scores of obspa assume that the rest makes up for the loss" in warning


def on_no_picture():
    """A convolution that reads a stored vector, which no runtime takes."""
    model = Net(opset=17)
    y = convolved(model, 3, 16, 16, 4)
    made = model.done(y)
    last = [node for node in made.graph.node if node.op_type == "Conv"][-1]
    made.graph.initializer.append(numpy_helper.from_array(np.ones(16, np.float32), "flat"))
    last.input[0] = "flat"
    return made


@pytest.mark.parametrize("scorer", ["auto", "l2", "obspa"])
def test_what_onnxruntime_refuses_is_refused(scorer):
    with pytest.raises(ReadError):
        pipeline.prune(on_no_picture(), Recipe(ratio=0.3, scorer=scorer))


def test_and_no_input_is_made_for_it(monkeypatch):
    def never(*_, **__):
        raise AssertionError("inputs were made")

    monkeypatch.setattr("spa.pipeline.settle.probe_of", never)
    for scorer in ("auto", "obspa"):
        with pytest.raises(ReadError, match="onnxruntime cannot load"):
            pipeline.prune(on_no_picture(), Recipe(ratio=0.3, scorer=scorer))


# Plans


def test_a_plan_is_carried_out_as_it_was_made():
    whole = pipeline.prune(DIGITS, Recipe(**AUTO))
    plan = Plan.from_json(pipeline.make_plan(DIGITS, Recipe(**AUTO)).plan.to_json())
    options = {"samples": 16, "verify": "none"}
    assert pipeline.apply(DIGITS, plan, Recipe(**options)).model == whole.model
    assert not refitted(pipeline.apply(DIGITS, plan, Recipe(**options, repair="none")).model)
    by_weights = pipeline.make_plan(DIGITS, Recipe(ratio=0.3, scorer="l2")).plan
    assert not refitted(pipeline.apply(DIGITS, by_weights, Recipe(**options)).model)
    assert refitted(pipeline.apply(DIGITS, by_weights, Recipe(**options, reconstruct=True)).model)


def test_a_plan_for_a_model_that_cannot_be_measured_is_cut_only():
    made = pipeline.make_plan(unknown(), Recipe(**AUTO)).plan
    measured = Plan(made.tensors, made.groups, made.source, {**made.recipe, "scorer": "obspa"})
    outcome = pipeline.apply(unknown(), measured, Recipe(samples=16, verify="none"))
    assert not refitted(outcome.model)
    assert any("nothing is refitted" in w for w in outcome.report["warnings"])
    with pytest.raises(ReadError):
        recipe = Recipe(samples=16, verify="none", repair="full")
        pipeline.apply(unknown(), measured, recipe)


@pytest.mark.parametrize(
    "recipe", [{}, {"scorer": "zebra"}, {"scorer": ["l2"]}, {"scorer": "l1", "saliency": 3}]
)
def test_a_plan_of_unknown_origin_is_cut_only(recipe):
    made = pipeline.make_plan(DIGITS, Recipe(ratio=0.3, scorer="l2")).plan
    plan = Plan(made.tensors, made.groups, made.source, recipe)
    assert not refitted(pipeline.apply(DIGITS, plan, Recipe(verify="none")).model)


def of_kind(kind):
    """A net with an input beside the first that is no tensor."""
    n = Net(opset=17)
    model = n.done(convolved(n, 3, 16, 16, 4))
    model.graph.input.append(onnx.ValueInfoProto(name="beside"))
    tensor = helper.make_tensor_type_proto(1, [2])
    made = {
        "sequence": lambda: helper.make_sequence_type_proto(tensor),
        "optional": lambda: helper.make_optional_type_proto(tensor),
    }
    other = model.graph.input[-1].type
    if kind == "map":
        other.map_type.key_type = 7
        other.map_type.value_type.CopyFrom(tensor)
    elif kind != "none":
        other.CopyFrom(made[kind]())
    return model


@pytest.mark.parametrize("kind", ["sequence", "optional", "map", "none"])
def test_an_input_that_is_no_tensor_is_refused_and_yet_what_is_not_run_is_cut(kind):
    for scorer in ("auto", "l2"):
        with pytest.raises(ReadError, match="input 'beside' has no tensor shape"):
            pipeline.prune(of_kind(kind), Recipe(ratio=0.3, scorer=scorer))
    done = pipeline.prune(of_kind(kind), Recipe(ratio=0.3, scorer="l2", verify="none"))
    assert done["reduction"]["macs"] >= 0.3
