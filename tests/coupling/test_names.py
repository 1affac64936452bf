"""Groups are called what people know them by, and answer to every name."""

from __future__ import annotations

import onnx
import pytest

from spa.budgets.limits import keeper, limits
from spa.coupling import analyse
from spa.coupling.describe import called
from spa.graph import read
from spa.plans import Plan, place, plan_of
from spa.recipe import Recipe
from tests.carried import DIGITS
from tests.nets import MOTIFS


class Node:
    op, name, outputs = "Conv", "/stem/conv/Conv", ("/stem/conv/Conv_output_0",)


@pytest.mark.parametrize("tensor", ["onnx::Conv_398", "398", "Conv_398", "onnx::conv", "_12"])
def test_numbers_of_an_exporter_give_way_to_the_node(tensor):
    assert called(tensor, Node()) == "/stem/conv/Conv"


@pytest.mark.parametrize("tensor", ["stem.weight", "w", "onnx::MatMul_3", "conv1.w", "kernel:0"])
def test_names_stay(tensor):
    assert called(tensor, Node()) == tensor


def test_where_all_are_numbers_the_tensor_keeps_its_own():
    node = Node()
    node.name, node.outputs = "Conv_7", ("out",)
    assert called("onnx::Conv_5", node) == "out"
    node.outputs = ("9",)
    assert called("onnx::Conv_5", node) == "onnx::Conv_5"


def numbered():
    """The weights of the convolutions as exporters leave them once a norm is folded away."""
    model = onnx.load(DIGITS)
    used = {n.input[1]: f"onnx::{n.op_type}_{k}" for k, n in enumerate(model.graph.node)
            if n.op_type == "Conv"}  # fmt: skip
    for tensor in model.graph.initializer:
        tensor.name = used.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [used.get(name, name) for name in node.input]
    return model


def test_a_renamed_group_answers_to_both_names():
    coupling = analyse(read(numbered()))
    group = coupling.groups[0]
    assert group.tensor.startswith("onnx::Conv_") and group.name != group.tensor
    assert "onnx::" not in group.name and group.name in {n.name for n in coupling.graph.order}
    for name in (group.name, group.tensor):
        limits(coupling, Recipe(ignore=(name,)))
        assert keeper(group, Recipe(ignore=(name,))) == "--ignore"


def test_plans_with_the_names_of_before_still_apply():
    model = numbered()
    coupling = analyse(read(model))
    alive = coupling.everything()
    for group in coupling.groups:
        alive[group.cells[:, : group.size // 2]] = False
    plan = plan_of(coupling, alive)
    old = [{**g, "name": coupling.groups[g["id"]].tensor} for g in plan.groups]
    found, missing = place(coupling, Plan(plan.tensors, tuple(old)))
    assert not missing and plan_of(coupling, found).tensors == plan.tensors


def test_whole_heads_are_as_wide_under_any_name():
    model = MOTIFS["attention_separate"].build()
    widths = [g.width for g in analyse(read(model), heads="whole").groups]
    for k, tensor in enumerate(model.graph.initializer):
        new = f"onnx::MatMul_{k}"
        for node in model.graph.node:
            node.input[:] = [new if i == tensor.name else i for i in node.input]
        tensor.name = new
    for k, node in enumerate(model.graph.node):
        node.name = f"layer{k}"
    groups = analyse(read(model), heads="whole").groups
    assert [g.width for g in groups] == widths and max(widths) > 1
    assert all(g.name.startswith("layer") for g in groups)
