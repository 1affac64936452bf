"""Branches are found from the graph alone, in nets of well-known families and in odd ones."""

from __future__ import annotations

import pytest

from spa import inspect
from spa.coupling.cost import Cost
from spa.coupling.per_node import macs_of_nodes
from tests.depth.cases import coupled, found, net
from tests.nets import deep


def ops(coupling, branch):
    return sorted(coupling.graph.nodes[k].op for k in branch.nodes)


CONVOLUTION = ["BatchNormalization", "BatchNormalization", "Conv", "Conv", "Relu"]
INVERTED = ["Conv", "Conv", "Conv", "Relu", "Relu"]
FEED_FORWARD = ["Add", "Add", "MatMul", "MatMul", "Relu"]


@pytest.mark.parametrize("batch", [2, "N"])
def test_blocks_of_a_resnet_also_where_the_shortcut_is_projected(batch):
    coupling, seen = found(deep.resnet, batch=batch)
    assert [ops(coupling, each) for each in seen.found] == [CONVOLUTION] * 3
    assert not seen.refused
    made = coupling.graph.made_by
    assert [made[each.shortcut].op for each in seen.found] == ["Relu", "Relu", "BatchNormalization"]


def test_inverted_residuals():
    coupling, seen = found(deep.inverted, batch="N")
    assert [ops(coupling, each) for each in seen.found] == [INVERTED] * 2
    first, second = seen.found
    assert second.shortcut == first.name
    assert first.params == second.params == (4 * 12 + 12) + (12 * 9 + 12) + (12 * 4 + 4)
    assert first.macs == 64 * (4 * 12 + 12 * 9 + 12 * 4)


@pytest.mark.parametrize("batch", [2, "N"])
@pytest.mark.parametrize("make", [deep.pre_norm, deep.post_norm])
def test_attention_and_feed_forward_are_branches_of_their_own(make, batch):
    coupling, seen = found(make, batch=batch)
    attention, rest = (ops(coupling, each) for each in seen.found)
    assert attention.count("MatMul") == 6 and "Softmax" in attention
    norm = ["LayerNormalization"] if make is deep.pre_norm else []
    assert rest == sorted([*FEED_FORWARD, *norm])


def test_a_norm_that_two_branches_read_is_part_of_neither():
    coupling, seen = found(deep.parallel)
    attention, rest = (ops(coupling, each) for each in seen.found)
    assert "Softmax" in attention and rest == FEED_FORWARD
    assert "LayerNormalization" not in attention


def test_a_branch_may_lie_in_another():
    _, seen = found(deep.nested)
    inner, outer = seen.found
    assert inner.nodes < outer.nodes and inner.add in outer.nodes
    assert inner.macs < outer.macs and inner.params < outer.params


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (deep.convolved_features, "GlobalAveragePool node"),
        (deep.shown_inside, "is an output of the model"),
        (deep.stretched, "stretches one of its inputs"),
    ],
)
def test_what_is_no_branch_says_why(make, words):
    _, seen = found(make)
    assert not seen.found
    (refused,) = seen.refused.values()
    assert words in refused.reason


def test_a_sum_without_weights_behind_it_is_no_branch():
    _, seen = found(deep.without_weights)
    assert not seen.found and not seen.refused


def test_a_branch_that_is_one_row_for_the_whole_batch_is_none():
    def mean_of_all(n):
        x = n.Relu(n.linear(n.input("x", 4), 4, 6))
        mean = n.reduce("ReduceMean", x, 0, keep=True)
        return n.linear(n.Add(x, n.linear(n.Relu(n.linear(mean, 6, 5)), 5, 6)), 6, 3)

    _, seen = found(mean_of_all, batch="N")
    assert not seen.found and len(seen.refused) == 1


def test_weights_of_two_branches_belong_to_neither():
    _, seen = found(deep.of_one_weight, batch="N")
    assert [(each.params, each.macs) for each in seen.found] == [(0, 36), (0, 36)]


def test_a_loop_counts_as_the_node_that_carries_it():
    from tests.nets.bodies import loop

    def looped(n):
        x = n.linear(n.input("x", 4), 4, 6)
        inner = n.Relu(n.linear(x, 6, 6))
        weight = n.weight(6, 6)
        y = loop(n, 3, lambda _, h: [n.Tanh(n.MatMul(h, weight))], [inner], 1)
        return n.linear(n.Add(x, y), 6, 3)

    coupling, seen = found(looped, batch="N")
    (branch,) = seen.found
    assert "Loop" in ops(coupling, branch)
    assert branch.params == 36 + 6 + 36 and branch.macs == 36 + 3 * 36


@pytest.mark.parametrize("make", [deep.resnet, deep.pre_norm, deep.nested])
def test_macs_of_nodes_are_those_of_the_model(make):
    coupling = coupled(make)
    whole = Cost(coupling)(coupling.everything()).macs
    assert sum(macs_of_nodes(coupling).values()) == pytest.approx(whole)


def test_inspect_says_what_branches_cost():
    report = inspect(net(deep.resnet, batch="N")).report
    first = report["branches"][0]
    assert first["op"] == "Add" and first["nodes"] == 5
    assert first["params"] == 8 * 6 * 9 + 6 * 4 + 6 * 8 * 9 + 8 * 4
    assert first["macs"] == 64 * (8 * 6 * 9 + 6 * 8 * 9)
    assert len(report["branches"]) == 3
