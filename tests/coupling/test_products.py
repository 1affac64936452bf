"""What no rule tells of is part of the whole: control flow, and operators without a rule."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spa.coupling import analyse
from spa.coupling.cost import Cost, Sizes
from spa.coupling.products import untold
from spa.graph import read
from spa.rules import RULES


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def floats(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def whole(nodes, inputs, stored) -> Sizes:
    graph = helper.make_graph(nodes, "g", inputs, [floats("y")], stored)
    del graph.output[0].type.tensor_type.shape.dim[:]
    graph.output[0].type.tensor_type.ClearField("shape")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    coupling = analyse(read(model))
    return Cost(coupling)(coupling.everything())


def branch(name: str, made: int) -> onnx.GraphProto:
    node = helper.make_node("Gemm", ["x", f"w_{name}"], [f"y_{name}"])
    total = helper.make_node("ReduceSum", [f"y_{name}"], [f"s_{name}"])
    out = helper.make_tensor_value_info(f"s_{name}", TensorProto.FLOAT, (1, 1))
    return helper.make_graph([node, total], name, [], [out], [weight(f"w_{name}", 8, made)])


def test_one_branch_runs_but_both_are_stored():  # nobody knows which: their mean
    then, other = branch("then", 4), branch("else", 6)
    choice = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, ())
    sizes = whole([choice], [condition, floats("x", 5, 8)], [])
    assert sizes.params == 8 * 4 + 8 * 6
    assert sizes.macs == 5 * 8 * (4 + 6) / 2


def test_a_product_without_a_rule_counts(monkeypatch):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], group=2),
        helper.make_node("ConvTranspose", ["h", "v"], ["y"]),
    ]
    stored = [weight("w", 8, 2, 3, 3), weight("v", 8, 5, 2, 2)]
    told = whole(nodes, [floats("x", 1, 4, 10, 10)], stored)
    monkeypatch.delitem(RULES, ("", "Conv"))
    monkeypatch.delitem(RULES, ("", "ConvTranspose"))
    assert whole(nodes, [floats("x", 1, 4, 10, 10)], stored).macs == told.macs > 0


@pytest.mark.parametrize(
    ("op", "shapes", "attrs", "macs"),
    [
        ("Gemm", [(7, 3), (7, 5)], {"transA": 1}, 3 * 7 * 5),
        ("MatMul", [(2, 4, 6), (6, 9)], {}, 2 * 4 * 6 * 9),
        ("Einsum", [(2, 4, 6), (6, 9), (9, 3)], {"equation": "bik,kj,jm->bm"}, 2 * 4 * 6 * 9 * 3),
        ("Einsum", [(2, 4)], {"equation": "ij->i"}, 0),
        ("LSTM", [(10, 2, 3), (1, 16, 3), (1, 16, 4)], {}, 20 * (48 + 64)),
        ("Relu", [(2, 4)], {}, 0),
    ],
)
def test_formulas(op, shapes, attrs, macs):
    names = [f"a{k}" for k in range(len(shapes))]
    outputs = ["", "y"] if op == "LSTM" else ["y"]
    attrs = attrs | ({"hidden_size": 4} if op == "LSTM" else {})
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, **attrs)],
        "g",
        [floats(n, *s) for n, s in zip(names, shapes, strict=True)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert untold(read(model), ()) == macs


def test_unknown_shapes_count_nothing():
    product = SimpleNamespace(
        index=0,
        op="MatMul",
        domain="",
        inputs=("a", "b"),
        outputs=("y",),
        attrs={},
        bodies={},
        times=1,
    )
    graph = SimpleNamespace(order=(product,), shapes={"a": (2, 3)})
    assert untold(graph, ()) == 0


def bytes_of(name: str, dtype: type, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def test_biases_of_32_bits_are_parameters_and_indices_are_not():
    """As much as they are in floating point; a row that is looked up by is none of them."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["weight"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "scale"], ["bias"], axis=0),
        helper.make_node("Conv", ["x", "weight", "bias"], ["h"]),
        helper.make_node("Gather", ["h", "row"], ["y"], axis=2),
    ]
    stored = [
        bytes_of("w", np.int8, 6, 4, 3, 3),
        bytes_of("b", np.int32, 6),
        bytes_of("row", np.int32, 2),
        weight("scale", 6),
    ]
    assert whole(nodes, [floats("x", 1, 4, 8, 8)], stored).params == 6 * 4 * 9 + 6 + 6
