"""Where outputs go: factors, biases, and the sums they end in."""

from __future__ import annotations

import numpy as np

from spa.coupling import analyse
from spa.executor.sites import sites_of
from spa.graph import read
from tests.nets import Net
from tests.nets.layers import residual_sum


def sinks(n, *outputs):
    coupling = analyse(read(n.done(*outputs)), strict=True)
    return coupling.graph, {s.node.index: s for s in sites_of(coupling)}


def test_a_residual_branch_ends_in_the_sum():
    n = Net(opset=17, batch="N")
    graph, sites = sinks(n, n.Relu(residual_sum(n, norm=True)))
    last = list(sites.values())[-1].sink
    assert last.stream == next(iter(sites.values())).y
    assert graph.nodes[-2].op == "Add" and last.tensor == graph.nodes[-2].outputs[0]
    norm = last.bias_input[0]
    scale, var = (graph.consts[norm.inputs[k]].astype(float) for k in (1, 4))
    expected = scale / np.sqrt(var + norm.attrs.get("epsilon", 1e-5))
    np.testing.assert_allclose(last.gain(graph.consts), expected)
    assert last.bias == norm.inputs[3]


def test_a_bias_added_later_takes_over():
    n = Net(opset=17, batch="N")
    hidden = n.Relu(n.MatMul(n.input("x", 5, 4), n.weight(4, 8)))
    bias, scale = n.weight(6), n.weight(6)
    y = n.Mul(n.Add(n.MatMul(hidden, n.weight(8, 6)), bias), scale)
    graph, sites = sinks(n, n.Relu(y))
    sink = list(sites.values())[-1].sink
    assert sink.bias == bias and sink.bias_input[0].op == "Add"
    np.testing.assert_allclose(sink.gain(graph.consts), graph.consts[scale])
    assert sink.tensor == graph.nodes[-2].outputs[0] and sink.stream is None


def test_a_bias_behind_a_factor_or_used_twice_is_left_alone():
    n = Net(opset=17, batch="N")
    x, shared = n.input("x", 5, 6), n.weight(6)
    first = n.Add(n.MatMul(x, n.weight(6, 6)), shared)
    second = n.Add(n.Mul(n.MatMul(n.Relu(first), n.weight(6, 6)), n.weight(6)), n.weight(6))
    _, sites = sinks(n, n.Add(n.Relu(second), shared))
    assert [s.sink.bias_input for s in sites.values()] == [None, None]


def test_outputs_used_twice_go_no_further():
    n = Net(opset=17, batch="N")
    y = n.MatMul(n.Relu(n.MatMul(n.input("x", 5, 4), n.weight(4, 8))), n.weight(8, 6))
    _, sites = sinks(n, n.Add(y, n.weight(6)), n.Relu(y))
    sink = list(sites.values())[-1].sink
    assert sink.tensor == y and sink.bias_input is None
