"""A weight that several nodes use is cut once, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

import spa
from spa.bases import free, tensors_of
from spa.coupling import analyse
from spa.coupling.cost import Cost, stored
from spa.coupling.shared import shared
from spa.graph import read
from spa.rewrite import rewrite
from tests.nets import Net


def tower():
    """One convolution on two scales, each with a stem and a head of its own."""
    n = Net(opset=17, batch="N")
    a = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6))
    b = n.Relu(n.conv(n.MaxPool(a, kernel_shape=[2, 2], strides=[2, 2]), 6, 6))
    weight, bias = n.weight(8, 6, 3, 3), n.weight(8)
    made = [n.Relu(n.Conv(y, weight, bias, pads=[1] * 4)) for y in (a, b)]
    return n.done(*(n.conv(y, 8, 4, 1) for y in made)), weight


def cell(steps=4, narrow=None):
    """One product applied again and again."""
    n = Net(opset=17)
    y, weight = n.Tanh(n.linear(n.input("x", 5), 5, 8)), n.weight(8, 8)
    for _ in range(steps):
        y = n.Tanh(n.MatMul(y, weight))
    return n.done(n.linear(y, 8, 3) if narrow is None else n.Identity(y)), weight


def cut(model, seed=0):
    """A random half of every group gone."""
    coupling = analyse(read(model), strict=True)
    alive, rng = coupling.everything(), np.random.default_rng(seed)
    for group in coupling.groups:
        drop = rng.permuted(group.cells, axis=1)[:, : group.size // 2]
        alive[drop] = False
    return coupling, alive, rewrite(coupling, alive)


@pytest.mark.parametrize("build", [tower, cell])
def test_all_uses_keep_the_same_positions(build):
    model, weight = build()
    coupling, alive, small = cut(model)
    users = [node for node in small.graph.node if weight in node.input]
    assert len(users) == sum(weight in node.input for node in model.graph.node)
    kept = {t.name: numpy_helper.to_array(t).shape for t in small.graph.initializer}
    before = {t.name: tuple(t.dims) for t in model.graph.initializer}
    assert kept[weight][0] == before[weight][0] // 2
    assert kept[weight][1] == before[weight][1] // 2
    assert stored(small) == Cost(coupling)(alive).params


def test_a_use_that_needs_all_keeps_all():
    model, _ = cell(narrow="output")
    coupling = analyse(read(model), strict=True)
    assert not coupling.groups
    assert any("output" in f.reason.text for f in coupling.frozen)


def test_a_use_of_channels_that_cannot_go_holds_the_others():
    n = Net(opset=17)
    x = n.input("x", 8)
    weight = n.weight(8, 6)
    hidden = n.Relu(n.linear(x, 8, 8))
    both = [n.MatMul(y, weight) for y in (x, hidden)]
    coupling = analyse(read(n.done(n.linear(n.Relu(n.Add(*both)), 6, 3))), strict=True)
    assert [g.size for g in coupling.groups] == [6]
    assert any(f"another use needs all of {weight}" in f.reason.text for f in coupling.frozen)


def test_copies_that_weigh_little_leave_the_uses_apart():
    n = Net(opset=17)
    weight = n.weight(4, 4)
    y = n.Relu(n.linear(n.input("x", 5), 5, 4))
    z = n.Relu(n.MatMul(y, weight))
    y = n.Relu(n.linear(n.Relu(n.linear(z, 4, 300)), 300, 4))
    graph = read(n.done(n.linear(n.Relu(n.MatMul(y, weight)), 4, 3)))
    assert not shared(analyse(graph).notes)
    assert [g.size for g in analyse(graph).groups] == [4, 4, 300, 4, 4]


def test_biases_and_factors_tie_nothing():
    n = Net(opset=17)
    bias = n.weight(6)
    y = n.Relu(n.Add(n.linear(n.input("x", 5), 5, 6, bias=False), bias))
    y = n.Relu(n.Add(n.linear(y, 6, 6, bias=False), bias))
    coupling = analyse(read(n.done(n.linear(y, 6, 3))))
    assert [g.size for g in coupling.groups] == [6, 6]


def test_the_basis_of_a_shared_weight_stays():
    n = Net(opset=17)
    weight = n.weight(6, 6)
    x = n.input("x", 5)
    y = n.MatMul(n.linear(x, 5, 6), weight)
    own = n.linear(n.linear(x, 5, 6), 6, 6)
    z = n.MatMul(n.Relu(n.Add(y, own)), weight)
    graph = read(n.done(n.linear(n.Relu(z), 6, 3)))
    parts = free(analyse(graph))
    assert parts
    assert all(weight not in tensors_of(part, graph) for part in parts)


def test_a_shared_layer_gets_smaller_by_default():
    model, weight = cell(steps=3)
    result = spa.prune(model, ratio=0.4, of="macs", probe="uniform", verify="equivalence")
    assert sum(weight in node.input for node in result.model.graph.node) == 3
    assert result.report["reduction"]["params"] > 0.3
