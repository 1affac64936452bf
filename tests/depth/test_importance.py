"""The order in which branches go, and what their outputs are judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spa import runtime
from spa.depth import Order, features_of
from spa.graph import read
from spa.repairs.standins import standins
from spa.rewrite.gated import gate_of, gated
from spa.validate.borders import watched
from tests.depth.cases import found, net
from tests.nets import deep

pytest.importorskip("onnxruntime")


def blocks(n):
    """Four branches of one convolution each, one behind the other."""
    x = n.conv(n.input("x", 3, 6, 6), 3, 8)
    for _ in range(4):
        x = n.Add(x, n.conv(x, 8, 8))
    return n.head(x, 8)


def ordered(harm, saves=None, enough=1.0, gone=0):
    """The positions of branches of `blocks` in the order in which they go."""
    _, known = found(blocks)
    places = {each.name: k for k, each in enumerate(known.found)}
    saves = saves or [0.25] * 4
    cost = {index: saves[k] for k, b in enumerate(known.found) for index in list(b.nodes)[:1]}
    asked = []

    def error(lost):
        asked.append([places[b.name] for b in lost])
        return sum(harm[k] for k in asked[-1])

    before, rest = known.found[:gone], known.found[gone:]
    steps = Order(rest, cost, error, before).until(enough)
    return [places[step.branch.name] for step in steps], steps, asked


def test_the_least_harm_goes_first():
    order, steps, _ = ordered([3.0, 1.0, 4.0, 2.0])
    assert order == [1, 3, 0, 2]
    assert [step.error for step in steps] == [1.0, 3.0, 6.0, 10.0]
    assert [step.saved for step in steps] == [0.25, 0.5, 0.75, 1.0]


def test_harm_is_weighed_by_what_it_saves():
    order, *_ = ordered([3.0, 1.0, 4.0, 2.0], saves=[0.6, 0.05, 0.2, 0.15])
    assert order == [0, 3, 1, 2]


def test_it_ends_once_enough_is_saved():
    order, steps, _ = ordered([3.0, 1.0, 4.0, 2.0], enough=0.4)
    assert order == [1, 3] and steps[-1].saved == 0.5


def test_what_has_gone_before_counts():
    order, steps, asked = ordered([3.0, 1.0, 4.0, 2.0], enough=0.75, gone=1)
    assert order == [1, 3] and steps[-1].saved == 0.75
    assert all(lost[0] == 0 for lost in asked)


def test_only_those_at_the_front_are_looked_at_again():
    *_, asked = ordered([1.0, 2.0, 4.0, 8.0])
    assert sum(len(lost) == 1 for lost in asked) <= 5
    assert len(asked) <= 4 + 4 + 3


def test_a_branch_inside_one_that_has_gone_is_no_step():
    coupling, known = found(deep.nested)
    outer = max(known.found, key=lambda each: len(each.nodes))
    cost = {index: 1.0 / len(coupling.graph.nodes) for index in outer.nodes}
    inner_first = {each.name: float(each is not outer) for each in known.found}
    steps = Order(known.found, cost, lambda lost: sum(inner_first[b.name] for b in lost)).until(9.0)
    assert [step.branch.name for step in steps] == [outer.name]


def outputs(model, feeds):
    return runtime.run(runtime.session(model, device="cpu"), feeds)


@pytest.mark.parametrize("make", [deep.resnet, deep.pre_norm, deep.post_norm, deep.inverted])
def test_gates_switch_branches(make):
    """All open: the model itself.  One closed: a factor and a summand per channel, by a formula."""
    model = net(make, batch="N")
    coupling, known = found(make, batch="N")
    graph, random = coupling.graph, np.random.default_rng(3)
    shape = [32, *coupling.graph.shapes[graph.inputs[0]][1:]]
    feeds = {graph.inputs[0]: random.standard_normal(shape).astype(np.float32)}
    names = [name for each in known.found for name in (each.shortcut, each.name)]
    values = outputs(watched(graph.proto, names), feeds)
    fits = standins(coupling, known.found, [values])
    first = known.found[0]
    switched = watched(gated(graph, fits, known.found), [first.name])
    gates = {gate_of(each): np.ones((), np.float32) for each in known.found}
    whole = outputs(switched, {**feeds, **gates})
    for name in graph.outputs:
        np.testing.assert_allclose(whole[name], values[name], rtol=1e-4, atol=1e-4)
    gates[gate_of(first)] = np.zeros((), np.float32)
    less = outputs(switched, {**feeds, **gates})[first.name].astype(np.float64)
    axis = 1 if less.ndim == 4 else less.ndim - 1
    names = first.shortcut, first.name
    x, y = (np.moveaxis(values[n].astype(np.float64), axis, 0) for n in names)
    got = np.moveaxis(less, axis, 0)
    for channel in range(len(x)):
        slope, constant = np.polyfit(x[channel].ravel(), y[channel].ravel(), 1)
        want = slope * x[channel] + constant
        np.testing.assert_allclose(got[channel], want, rtol=1e-3, atol=1e-3)
    assert model.graph.node  # the model that was read is not changed


def test_features_are_what_the_last_product_is_given():
    def classifier(n):
        x = n.conv(n.input("x", 3, 6, 6), 3, 8)
        pooled = n.Flatten(n.GlobalAveragePool(n.Add(x, n.conv(x, 8, 8))))
        return n.Softmax(n.MatMul(pooled, n.weight(8, 5)))

    graph = read(net(classifier))
    (name,) = features_of(graph)
    assert graph.shapes[name] == (2, 8)


def test_a_sum_at_the_end_is_its_own_feature():
    def encoder(n):
        x = n.conv(n.input("x", 3, 6, 6), 3, 8)
        return n.Relu(n.Add(x, n.conv(x, 8, 8)))

    graph = read(net(encoder))
    (name,) = features_of(graph)
    assert graph.made_by[name].op == "Add"


def test_a_model_without_products_is_judged_by_its_outputs():
    graph = read(net(lambda n: n.Relu(n.input("x", 3, 6))))
    assert features_of(graph) == graph.outputs or list(features_of(graph)) == list(graph.outputs)


def test_costs_of_other_nodes_count_nothing():
    _, known = found(blocks)
    assert Order(known.found, {}, lambda lost: 1.0).until(0.5) == ()
    assert replace(known, found=()).found == ()


def test_a_branch_without_which_nothing_is_finite_stays():
    order, *_ = ordered([1.0, float("inf"), 2.0, float("nan")])
    assert order == [0, 2]
