"""Where statistics forbid equality, neutral models must be equal."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from onnx import helper

from spa.coupling import analyse
from spa.errors import VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.neutral import neutralised
from tests import oracles
from tests.nets import BATCH, MOTIFS, Net
from tests.nets.layers import convolved
from tests.support import needs_runtime
from tests.validate.test_verify import changed, swapped, weights

LOSSY = sorted(name for name, motif in MOTIFS.items() if motif.lossy)


def pruned(model):
    coupling = analyse(read(model), strict=True)
    alive = oracles.scattered(0.5, 1)(coupling)
    return coupling, alive, rewrite(coupling, alive)


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        (name, batch)
        for name in LOSSY
        for batch in ((1,) if MOTIFS[name].options.get("batch") == 1 else (2, BATCH))
    ],
)
def test_every_lossy_motif_is_held_to_its_neutral_form(name, batch):
    needs_runtime(MOTIFS[name].build(batch=batch))
    coupling, alive, small = pruned(MOTIFS[name].build(batch=batch))
    verdict = verify(coupling, alive, small)
    assert verdict.lossy and verdict.equivalence is not None and verdict.equivalence < 1e-5


@pytest.mark.parametrize("name", LOSSY)
def test_a_wrong_order_shows_in_the_neutral_form(name):
    needs_runtime(MOTIFS[name].build())
    coupling, alive, small = pruned(MOTIFS[name].build())
    made = {m.tensor for g in coupling.groups for m in g.members if m.role == "makes"}
    large = [n for n, a in weights(small).items() if n in made and a.ndim > 1 and len(a) > 1]
    with pytest.raises(VerifyError):
        verify(coupling, alive, changed(small, large[0], swapped))


REDUCTIONS = "ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSumExp".split()


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_at_every_opset(op, opset):
    n = Net(opset=opset)
    y = n.Sigmoid(n.conv(n.input("x", 3, 4, 4), 3, 8))
    y = n.Mul(y, n.Sigmoid(n.reduce(op, y, 1)))
    verdict = verify(*pruned(n.done(n.conv(y, 8, 3))))
    assert verdict.equivalence < 1e-5 and [reason.op for reason in verdict.lossy] == [op]


def test_a_statistic_that_somebody_reads_cannot_be_taken_out():
    """What enters it is compared, and what follows from the same result; the verdict says so."""
    n = Net(opset=17)
    y = n.linear(n.input("x", 4, 6), 6, 8)
    y, mean = n.LayerNormalization(y, n.positive(8), n.weight(8), outs=2)
    coupling, alive, small = pruned(n.done(n.linear(y, 8, 3), mean))
    verdict = verify(coupling, alive, small)
    assert verdict.lossy and verdict.equivalence < 1e-5 and verdict.proof == "partial"
    assert "LayerNormalization" in verdict.limits[0]
    matrices = [name for name, array in weights(small).items() if array.ndim == 2]
    for name in matrices[:2]:  # before the statistic, and behind it
        with pytest.raises(VerifyError, match="differs from the masked original"):
            verify(coupling, alive, changed(small, name, swapped))


def test_what_is_left_of_a_saturated_output_is_rounding():
    """A sigmoid of -15 and less holds few digits; what goes into it holds them all."""
    n = Net(opset=17)
    y = n.Sub(convolved(n, 3, 16, 16, 2), n.const(np.float32(14.5)))
    model = n.done(n.Sigmoid(y))
    coupling, alive, small = pruned(model)
    assert verify(coupling, alive, small).equivalence < 1e-4
    noisy = importlib.import_module("spa.validate.proof")
    found = [noisy.unsaturated(m).graph.node[-1].op_type for m in (coupling.graph.proto, small)]
    assert found == ["Identity", "Identity"]
    inner = n.Sigmoid(n.conv(n.input("z", 3, 8, 8), 3, 4))
    inside = n.done(n.conv(inner, 4, 2))
    assert "Sigmoid" in {node.op_type for node in noisy.unsaturated(inside).graph.node}


def node(op, inputs=("x",), outputs=("y",), **attributes):
    return helper.make_node(op, inputs, outputs, name="it", **attributes)


def fused(op, *arguments):
    return node(op, *arguments, domain="com.microsoft")


@pytest.mark.parametrize(
    ("lossy", "ops"),
    [
        (node("Softmax", axis=1), ["Tanh"]),
        (node("LayerNormalization", ["x", "s", "b"]), ["Tanh", "Mul", "Add"]),
        (node("LayerNormalization", ["x", "s"]), ["Tanh", "Mul"]),
        (node("ReduceMax", keepdims=0, axes=[1]), ["ReduceSum"]),
        (node("ReduceMax", ["x", "axes"]), ["ReduceSum"]),
        (node("ReduceMax"), ["ReduceSum"]),
        (fused("SkipLayerNormalization", ["x", "k", "s"]), ["Add", "Tanh", "Mul"]),
        (
            fused("SkipLayerNormalization", ["x", "k", "s", "b", "c"], ["y", "", "", "sum"]),
            ["Add", "Add", "Tanh", "Mul", "Add"],
        ),
        (
            fused("SkipSimplifiedLayerNormalization", ["x", "k", "s", "c"]),
            ["Add", "Add", "Tanh", "Mul"],
        ),
        (
            fused("QLinearReduceMean", ["x", "s", "z", "s", "z"]),
            ["DequantizeLinear", "ReduceSum", "QuantizeLinear"],
        ),
        (fused("SkipLayerNormalization", ["x", "k", "s"], ["y", "mean"]), None),
        (node("LayerNormalization", ["x", "s"], ["y", "mean"]), None),
        (node("Hardmax"), None),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_what_takes_its_place(lossy, ops, opset):
    info = helper.make_tensor_value_info
    others = node("Relu", ["y"], ["z"])
    others.name = "other"
    graph = helper.make_graph([lossy, others], "g", [info("x", 1, [2, 3])], [info("z", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    before = model.SerializeToString()
    found = neutralised(model, {"it"}, lambda n: n.name)
    assert model.SerializeToString() == before
    if ops is None:
        assert found is None
        return
    assert [n.op_type for n in found.graph.node] == [*ops, "Relu"]
    assert found.graph.node[0].input[0] == "x" and found.graph.node[-2].output[0] == "y"
    assert {*lossy.output} - {""} <= {o for n in found.graph.node for o in n.output}
    assert {*lossy.input} <= {i for n in found.graph.node for i in n.input} | {"axes"}
    if ops == ["ReduceSum"]:
        (new, _) = found.graph.node
        attributes = {a.name: helper.get_attribute_value(a) for a in new.attribute}
        kept = {a.name: helper.get_attribute_value(a) for a in lossy.attribute}
        if opset >= 13 and "axes" in kept:
            stored = {t.name: t for t in found.graph.initializer}
            assert np.array_equal(np.frombuffer(stored[new.input[1]].raw_data, np.int64), [1])
            kept.pop("axes")
        assert attributes == kept


def loud(depth, size=48):
    """A deep model whose sums are far from 1 wherever a norm does not hold them."""
    n = Net()
    y = n.conv(n.input("x", 3, 8, 8), 3, size)
    for _ in range(depth):
        y = n.group_norm(y, size, 4, (8, 8))
        y = n.Conv(n.Relu(y), n.weight(size, size, 3, 3, scale=0.5), pads=[1] * 4)
    return n.done(n.head(y, size))


def test_a_neutral_model_is_calm_where_sums_are_large():
    coupling, alive, small = pruned(loud(40))
    verdict = verify(coupling, alive, small)
    assert len(verdict.lossy) == 40 and verdict.equivalence < 1e-5
    large = [name for name, array in weights(small).items() if array.ndim == 4]
    with pytest.raises(VerifyError):
        verify(coupling, alive, changed(small, large[20], swapped))
