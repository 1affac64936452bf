"""A plan finds its way into a fresh export, or says why it does not."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spa import runtime
from spa.coupling import analyse
from spa.errors import UsageError
from spa.graph import read
from spa.plans import Plan, place, plan_of
from spa.probes import plain
from spa.rewrite import rewrite
from tests import oracles
from tests.carried import DIGITS, coupling_of
from tests.nets import MOTIFS
from tests.plans import exports

CHOICES = dict(oracles.all_choices())


def planned(name, choice="scattered 0.5"):
    """A plan as it comes from a file."""
    coupling = coupling_of(name)
    return Plan.from_json(plan_of(coupling, CHOICES[choice](coupling)).to_json())


def placed(model, plan):
    coupling = analyse(read(model), strict=True)
    alive, missing = place(coupling, plan)
    return coupling, alive, missing


# What fits

EXPORTS = {
    "renamed": exports.renamed,
    "nameless": exports.nameless,
    "tuned": exports.tuned,
    "opset 18": lambda model: exports.converted(model, 18),
    "opset 21": lambda model: exports.converted(model, 21),
    "fixed batch": lambda model: exports.with_batch(model, 4),
    "folded": exports.folded,
    "folded and renamed": lambda model: exports.renamed(exports.folded(model)),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_a_fresh_export_of_a_carried_model(export):
    plan = planned("digits")
    coupling, alive, missing = placed(EXPORTS[export](onnx.load(DIGITS)), plan)
    small = rewrite(coupling, alive)
    stored = {t.name: list(t.dims) for t in small.graph.initializer}
    for name, entry in plan.tensors.items():
        assert name in missing or stored[name] == entry["new_shape"]
    assert bool(missing) == ("folded" in export)
    assert all(".bn." in name for name in missing)
    oracles.works(coupling, alive, small)


@pytest.mark.parametrize("export", ["renamed"])
@pytest.mark.parametrize("name", MOTIFS)
def test_a_fresh_export_of_a_motif(name, export):
    plan = planned(name)
    model = MOTIFS[name].build()
    coupling, alive, missing = placed(EXPORTS[export](model), plan)
    assert not {t.name for t in model.graph.initializer} & set(missing)
    kept = [alive[g.cells].sum() for g in coupling.groups]
    assert kept == [g["after"] for g in plan.groups]
    rewrite(coupling, alive)


def test_a_folded_export_computes_what_the_unfolded_one_computes():
    plan = planned("digits", "scattered 0.3")
    models = []
    for model in (onnx.load(DIGITS), exports.folded(onnx.load(DIGITS))):
        coupling, alive, _ = placed(model, plan)
        models.append(rewrite(coupling, alive))
    feeds = plain.feeds(coupling.graph)
    a, b = (runtime.run(runtime.session(m), feeds)["logits"] for m in models)
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())


def test_initializers_in_another_order():
    plan = planned("digits")
    model = onnx.load(DIGITS)
    tensors = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    coupling, alive, missing = placed(model, plan)
    assert not missing and plan_of(coupling, alive).sha256 == plan.sha256


def test_equal_tensors_may_be_merged_or_not():
    """Exporters store equal biases once or twice, as they please."""
    once = onnx.load(DIGITS)
    twice = exports.expanded(once)
    (node,) = [n for n in once.graph.node if n.op_type == "Identity"]
    plan = planned("digits")
    assert node.input[0] in plan.tensors and node.output[0] not in plan.tensors
    coupling, alive, missing = placed(twice, plan)
    assert not missing
    back = plan_of(coupling, alive)
    assert back.tensors[node.input[0]] == back.tensors[node.output[0]]
    again, alive, missing = placed(once, back)
    assert missing == (node.output[0],)
    assert plan_of(again, alive).sha256 == plan.sha256


# What does not fit


def refusal(plan, model):
    with pytest.raises(UsageError) as caught:
        placed(model, plan)
    text = str(caught.value)
    assert text.startswith("the plan does not fit") and "\n" not in text
    return text


def test_another_width():
    plan = planned("digits")
    model = onnx.load(DIGITS)
    name = "head.conv.weight"
    (old,) = [t for t in model.graph.initializer if t.name == name]
    wide = np.zeros((40, 24, 1, 1), np.float32)
    for tensor in list(model.graph.initializer):
        if tensor.name.startswith("head.bn."):
            tensor.CopyFrom(numpy_helper.from_array(np.ones(40, np.float32), tensor.name))
        elif list(tensor.dims) == [10, 32]:
            tensor.CopyFrom(numpy_helper.from_array(np.ones((10, 40), np.float32), tensor.name))
    old.CopyFrom(numpy_helper.from_array(wide, name))
    text = refusal(plan, model)
    assert "has shape [10, 40]" in text and "made for [10, 32]" in text
    assert "make a new plan" in text


def test_other_names():
    plan = planned("digits")
    model = onnx.load(DIGITS)
    table = {t.name: f"onnx::{k}" for k, t in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = table[tensor.name]
    for node in model.graph.node:
        node.input[:] = [table.get(name, name) for name in node.input]
    text = refusal(plan, model)
    assert "no initializer" in text and "export with the same names" in text


def test_another_model():
    assert "no initializer" in refusal(planned("digits"), MOTIFS["residual"].build())


def test_what_is_frozen_now():
    """The new export also gives the features out."""
    plan = planned("digits")
    model = onnx.load(DIGITS)
    head = next(n for n in model.graph.node if n.input[1:2] == ["head.conv.weight"])
    model.graph.output.append(helper.make_tensor_value_info(head.output[0], 1, None))
    assert "removes channels of classifier.weight that are frozen" in refusal(plan, model)


def test_what_is_coupled_now():
    """A new skip connection ties two groups that were cut apart."""
    plan = planned("plain")
    model = MOTIFS["plain"].build()
    wide = next(t for t in model.graph.initializer if list(t.dims) == [6, 8, 3, 3])
    assert plan.tensors[wide.name]["new_shape"][:2] == [3, 4]
    changed = copy.deepcopy(plan.tensors)
    changed[wide.name]["keep"]["0"] = [0, 1, 2, 3]
    assert "couples" in refusal(Plan(changed, plan.groups), model)


def test_an_order_that_does_not_survive_a_shuffle():
    """Groups that a shuffle mixes must keep the same positions; a plan edited by hand may not."""
    plan = planned("shuffle_between_groups")
    model = MOTIFS["shuffle_between_groups"].build()
    edited = copy.deepcopy(plan.tensors)
    for entry in edited.values():
        for axis, keep in entry["keep"].items():
            if len(keep) == 4 and entry["shape"][int(axis)] == 8:
                entry["keep"][axis] = [0, 1, 2, 5]
    refusal(Plan(edited, plan.groups), model)


@pytest.mark.parametrize("keep", [[], [0, 1, 99], [0, 0, 1], [3, 2, 1, 0, 4, 5, 6, 7]])
def test_positions_that_make_no_sense(keep):
    plan = planned("digits")
    edited = copy.deepcopy(plan.tensors)
    edited["head.conv.weight"]["keep"]["0"] = keep
    refusal(Plan(edited, plan.groups), onnx.load(DIGITS))


def test_a_wrong_new_shape():
    plan = planned("digits")
    edited = copy.deepcopy(plan.tensors)
    edited["head.conv.weight"]["new_shape"][0] += 1
    assert "head.conv.weight" in refusal(Plan(edited, plan.groups), onnx.load(DIGITS))


def test_blocks_of_another_number_of_groups():
    plan = planned("grouped")
    name, entry = next((n, e) for n, e in plan.tensors.items() if "blocks" in e)
    for lists in ([entry["keep"]["1"][0]], entry["keep"]["1"] * 2):
        edited = copy.deepcopy(plan.tensors)
        edited[name]["keep"]["1"] = lists
        assert name in refusal(Plan(edited, plan.groups), MOTIFS["grouped"].build())


def test_a_refused_plan_leaves_the_coupling_as_it_was():
    coupling = analyse(read(MOTIFS["plain"].build()), strict=True)
    before = coupling.everything()
    plan = planned("plain")
    edited = copy.deepcopy(plan.tensors)
    edited[next(iter(edited))]["keep"]["0"] = []
    with pytest.raises(UsageError):
        place(coupling, Plan(edited, plan.groups))
    assert (place(coupling, Plan({}, ()))[0] == before).all()
