"""Weights that several sites share get one solution, for the inputs of all."""

from __future__ import annotations

import numpy as np
import pytest

from spa.executor.least_squares import Moments
from spa.repairs.together import missed, spread
from tests.nets import Net
from tests.repairs.test_sequential import halves, inputs, miss, stored


def twice(bias, apart=False):
    """One product of eight channels, on two inputs made by different layers."""
    n = Net(opset=17, batch="N")
    x = n.input("x", 6)
    weight, shift = n.weight(8, 5), [n.weight(5)] * 2
    if apart:
        shift = [n.weight(5), n.weight(5)]
    made = []
    for k in range(2):
        y = n.MatMul(n.linear(x, 6, 8), weight)
        made.append(n.Add(y, shift[k]) if bias else y)
    return n.done(*made), weight, shift


def solved(coupling, cut, feeds, weight, affine):
    """What numpy finds for the stacked uses on all batches but the last of eight."""
    graph = coupling.graph
    users = [node for node in graph.nodes if weight in node.inputs]
    places = [stored(cut)[weight].shape[0], np.flatnonzero(kept(coupling, cut, weight))]
    rows, wanted = [], []
    for feed in feeds:
        for node in users:
            maker = next(m for m in graph.nodes if node.inputs[0] in m.outputs)
            hidden = dense(graph, maker, feed["x"].astype(np.float64))
            rows.append(hidden[:, places[1]])
            wanted.append(hidden @ graph.consts[weight])
    x, y = np.concatenate(rows), np.concatenate(wanted)
    if affine:
        x = np.concatenate([x, np.ones((len(x), 1))], 1)
    return np.linalg.lstsq(x, y, rcond=None)[0]


def dense(graph, node, x):
    """A linear layer as the net writes it: a product, and perhaps a sum."""
    if node.op == "Add":
        product = next(m for m in graph.nodes if node.inputs[0] in m.outputs)
        return dense(graph, product, x) + graph.consts[node.inputs[1]]
    if node.op == "Gemm":
        return x @ graph.consts[node.inputs[1]] + graph.consts[node.inputs[2]]
    return x @ graph.consts[node.inputs[1]]


def kept(coupling, cut, weight):
    """Which rows of the weight stay: the first, as `halves` cuts."""
    size = coupling.graph.shapes[weight][0]
    return np.arange(size) < stored(cut)[weight].shape[0]


@pytest.mark.parametrize("bias", [False, True])
def test_the_solution_is_that_of_all_uses_at_once(bias):
    model, weight, shift = twice(bias)
    feeds = inputs(40, 6, count=8)
    coupling, cut, small, done = halves(model, feeds, strength=1e-10)
    users = [node for node in small.graph.node if weight in node.input]
    assert len(users) == 2
    want = solved(coupling, cut, feeds[:7], weight, bias)
    size = stored(cut)[weight].shape[0]
    np.testing.assert_allclose(stored(small)[weight], want[:size], atol=2e-3)
    if bias:
        change = stored(small)[shift[0]] - stored(cut)[shift[0]]
        np.testing.assert_allclose(change, want[size], atol=2e-3)
    assert done[0].after < 0.7 * done[0].before
    assert miss(coupling, small, feeds) < 0.7 * miss(coupling, cut, feeds)


def test_biases_of_their_own_stay():
    model, _, shift = twice(True, apart=True)
    _, cut, small, done = halves(model, inputs(40, 6, count=8))
    assert done[0].kept
    for name in shift:
        np.testing.assert_array_equal(stored(small)[name], stored(cut)[name])


def test_inputs_that_are_no_numbers_change_nothing():
    model, weight, _ = twice(True)
    feeds = inputs(40, 6)
    for feed in feeds:
        feed["x"][0] = np.nan
    _, cut, small, done = halves(model, feeds)
    np.testing.assert_array_equal(stored(small)[weight], stored(cut)[weight])
    assert not any(d.kept for d in done)


@pytest.mark.parametrize("mode", ["bias", "mix"])
def test_less_than_least_squares_leaves_them(mode):
    model, weight, _ = twice(True)
    _, cut, small, _ = halves(model, inputs(40, 6), mode=mode)
    np.testing.assert_array_equal(stored(small)[weight], stored(cut)[weight])


def test_errors_from_moments_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, n, 50)).astype(np.float32) + 1 for n in (4, 3))
    weight, bias = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3))
    sums = Moments(2, 4, 3)
    sums.add(x, y)
    squares = np.square(y).sum(2)
    gap = y - weight @ x
    left = missed(sums, squares, weight, np.zeros_like(bias))
    np.testing.assert_allclose(left, np.square(gap).sum(2), rtol=1e-4)
    gap = gap - bias[:, :, None]
    np.testing.assert_allclose(
        missed(sums, squares, weight, bias), np.square(gap).sum(2), rtol=1e-4
    )
    centred = y - y.mean(2, keepdims=True)
    np.testing.assert_allclose(spread(sums, squares), np.square(centred).sum(2), rtol=1e-4)
