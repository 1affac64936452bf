"""Where data decide, what enters is compared; where nothing can be, the verdict says so."""

from __future__ import annotations

import importlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spa.coupling import analyse
from spa.errors import VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.gap import Gap, gap
from spa.validate.lengths import check_shapes, sized_by_data
from tests import oracles
from tests.nets import Net
from tests.nets.layers import multiplied
from tests.validate.test_verify import changed, swapped, weights


def pruned(model):
    coupling = analyse(read(model))
    assert coupling.groups
    alive = oracles.scattered(0.5, 1)(coupling)
    return coupling, alive, rewrite(coupling, alive)


def tied(decide):
    """A net whose decision falls between entries that are equal but for rounding."""
    n = Net(batch="N")
    x = n.input("x", 4, 6)
    y = n.Relu(n.linear(x, 6, 8))
    once, again = n.MatMul(y, w := n.weight(8, 3)), n.MatMul(n.Mul(y, n.scalar(3.0)), w)
    scores = n.Concat(once, n.Div(again, n.scalar(3.0)), axis=-1)
    return n.done(*decide(n, scores))


def largest(n, scores):
    return n.TopK(scores, n.ints(2), axis=-1, outs=2)


def first(n, scores):
    return (n.ArgMax(scores, axis=-1),)


def greater(n, scores):
    first, second = n.split(scores, [3, 3], axis=-1)
    return (n.Where(n.Greater(first, second), scores_of(n, 1.0), scores_of(n, -1.0)),)


def scores_of(n, value):
    return n.const(np.full((1, 1, 3), value, np.float32))


def whole(n, scores):
    first, second = n.split(scores, [3, 3], axis=-1)
    steps = n.Cast(n.Div(first, n.Add(second, n.scalar(1e-9))), to=TensorProto.INT64)
    return (n.Cast(steps, to=TensorProto.FLOAT),)


def halves(n, scores):
    """Numbers beside a half."""
    first, second = n.split(scores, [3, 3], axis=-1)
    return n.Mul(n.Div(first, n.Add(second, n.scalar(1e-9))), n.scalar(0.5))


def stepped(n, scores):
    step = n.scalar(1.0), n.const(np.int8(0))
    steps = n.Transpose(n.QuantizeLinear(halves(n, scores), *step), perm=[0, 2, 1])
    return (n.DequantizeLinear(steps, *step),)


def stepped_by_range(n, scores):
    """The halves are 127.5 steps of a range up to 1."""
    most = n.Concat(halves(n, scores), n.Sigmoid(n.Add(n.Abs(scores), n.scalar(40.0))), axis=-1)
    steps, size, zero = n.DynamicQuantizeLinear(most, outs=3)
    return (n.DequantizeLinear(n.Transpose(steps, perm=[0, 2, 1]), size, zero),)


DECISIONS = [largest, first, greater, whole, stepped, stepped_by_range]


@pytest.mark.parametrize("decide", DECISIONS)
def test_near_ties_are_no_error(decide):
    coupling, alive, small = pruned(tied(decide))
    verdict = verify(coupling, alive, small)
    assert verdict.equivalence < 1e-4 and verdict.proof == "complete"


@pytest.mark.parametrize("decide", [largest, first, greater])
def test_what_enters_a_decision_is_compared(decide):
    coupling, alive, small = pruned(tied(decide))
    for name in [k for k, a in weights(small).items() if a.ndim == 2]:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))


def behind(n):
    """Layers behind a decision, which depend on nothing else."""
    scores = multiplied(n, n.input("x", 4, 6), 6, 8, 6)
    values, _ = n.TopK(n.Mul(scores, n.scalar(1.0)), n.ints(6), axis=-1, outs=2)
    return n.done(multiplied(n, values, 6, 8, 3))


def test_what_follows_a_decision_is_compared():
    coupling, alive, small = pruned(behind(Net(batch="N")))
    matrices = [k for k, a in weights(small).items() if a.ndim == 2]
    assert len(matrices) == 4
    for name in matrices:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))


def drawn(op="RandomNormalLike"):
    n = Net(batch="N")
    y = n.linear(n.input("x", 4, 6), 6, 8)
    return n.done(n.linear(n.Add(y, n.node(op, y)), 8, 3))


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike"])
def test_random_numbers_are_the_same_for_both(op):
    coupling, alive, small = pruned(drawn(op))
    verdict = verify(coupling, alive, small)
    assert verdict.equivalence < 1e-5 and verdict.compared > 0
    assert verdict.proof == "partial" and op in verdict.limits[0]
    for name in [k for k, a in weights(small).items() if a.ndim == 2]:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))


def test_numbers_that_are_not_finite_are_compared_before_they_break():
    n = Net(batch="N")
    y = multiplied(n, n.input("x", 4, 6), 6, 8, 3)
    coupling, alive, small = pruned(n.done(n.Sqrt(n.Sub(n.Abs(y), n.scalar(50.0)))))
    verdict = verify(coupling, alive, small)
    assert verdict.equivalence < 1e-5 and verdict.proof == "complete"
    for name in [k for k, a in weights(small).items() if a.ndim == 2]:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))


def test_nothing_compared_is_nothing_proved(monkeypatch):
    coupling, alive, small = pruned(drawn())
    module = importlib.import_module("spa.validate.proof")
    monkeypatch.setattr(module.Steered, "gap", lambda *_: Gap())
    verdict = verify(coupling, alive, small)
    assert verdict.equivalence is None and verdict.proof == "none"


def test_gaps():
    nan, inf = np.nan, np.inf
    a = np.array([1.0, nan, inf, 4.0])
    assert gap({"y": a}, {"y": a}) == Gap(0.0, 2, 2)
    assert gap({"y": a}, {"y": a + 0.4}).error == pytest.approx(0.1)
    for other in ([1.0, 2.0, inf, 4.0], [1.0, nan, -inf, 4.0], [1.0, nan, inf, nan], [1.0]):
        assert gap({"y": a}, {"y": np.array(other)}).error == inf
    assert gap({"y": a}, {}).error == inf
    assert gap({"i": np.array([1, 2])}, {"i": np.array([1, 3])}) == Gap(1.0, 2)
    assert gap({"s": [a]}, {"s": [a, a]}).error == inf
    assert gap({"s": [a]}, {"s": [a]}) == Gap(0.0, 2, 2)


# Lengths


def spoken(n):
    """Frames as many as durations say: one row per position, repeated."""
    x = n.input("x", 5, 6)
    y = n.Relu(n.linear(x, 6, 8))
    durations = n.Cast(n.Ceil(n.Exp(n.linear(y, 8, 1))), to=TensorProto.INT64)
    total = n.ReduceSum(durations, keepdims=0)
    frames = n.Range(n.const(np.int64(0)), total, n.const(np.int64(1)))
    rows = n.Unsqueeze(n.Cast(frames, to=TensorProto.FLOAT), n.ints(0, 2))
    pooled = n.ReduceMean(n.linear(y, 8, 4), axes=[1], keepdims=1)
    return n.done(n.Mul(rows, pooled), n.Cast(durations, to=TensorProto.FLOAT))


def test_durations_decide_on_a_length():
    coupling, alive, small = pruned(spoken(Net(batch=1)))
    first, second = coupling.graph.outputs
    assert first in sized_by_data(coupling.graph) and second not in sized_by_data(coupling.graph)
    assert verify(coupling, alive, small).equivalence < 1e-4
    (louder,) = [k for k, a in weights(small).items() if a.shape[-1:] == (1,) and a.ndim == 2]
    refitted = changed(small, louder, lambda a: a * 3)
    verify(coupling, alive, refitted, level="run")  # another length is no mistake
    with pytest.raises(VerifyError, match="differs"):
        verify(coupling, alive, refitted)


def test_sizes_of_inputs_are_no_data():
    n = Net(batch="N")
    x = n.input("x", "T", 6)
    length = n.Shape(x, start=1, end=2)
    rows = n.Slice(n.weight(20, 6), n.ints(0), length, n.ints(0))
    found = n.NonZero(n.Relu(x))
    graph = read(n.done(n.Add(x, rows), found))
    assert [name in sized_by_data(graph) for name in graph.outputs] == [False, True]


def test_other_lengths_only_where_data_decide():
    n = Net(batch=2)
    x = n.input("x", 6)
    graph = read(n.done(n.Transpose(n.NonZero(x)), n.Relu(x)))
    found, plain = graph.outputs
    shape = graph.proto.graph.output[0].type.tensor_type.shape
    shape.dim.add(dim_param="found")
    shape.dim.add(dim_value=2)
    graph.proto.graph.output[1].type.tensor_type.ClearField("shape")
    before = {found: np.zeros((5, 2), np.int64), plain: np.zeros((2, 6), np.float32)}
    check_shapes(graph, before, {**before, found: np.zeros((7, 2), np.int64)}, "")
    for name, other in ((found, (5, 3)), (found, (5, 2, 1)), (plain, (2, 5))):
        with pytest.raises(VerifyError, match="has shape"):
            check_shapes(graph, before, {**before, name: np.zeros(other)}, "")


def test_bodies_that_decide_are_steered_as_a_whole():
    """A Loop that stops where a sum is large enough: its inputs are compared."""
    n = Net(batch=1)
    y = multiplied(n, n.input("x", 4, 6), 6, 8, 6)
    steps = [
        helper.make_node("Add", ["s", y], ["t"]),
        helper.make_node("ReduceSum", ["t"], ["sum"], keepdims=0),
        helper.make_node("Less", ["sum", "limit"], ["on"]),
    ]
    info = helper.make_tensor_value_info
    inner = helper.make_graph(
        steps,
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("s", 1, None)],
        [info("on", TensorProto.BOOL, []), info("t", 1, None)],
    )
    n.const(np.float32(100.0), "limit")
    start = n.const(np.zeros((1, 4, 6), np.float32))
    end = n.Loop(n.const(np.int64(9)), n.const(np.array(True)), start, body=inner)
    coupling, alive, small = pruned(n.done(end))
    assert isinstance(small, onnx.ModelProto)
    assert verify(coupling, alive, small).equivalence < 1e-4
    for name in [k for k, a in weights(small).items() if a.ndim == 2]:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))
