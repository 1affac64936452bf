"""Branches are found from the graph alone, in nets of well-known families and in odd ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from spa import inspect
from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.coupling.per_node import macs_of_nodes
from spa.depth import branches
from spa.graph import read
from tests.depth.cases import coupled, every, found, net
from tests.nets import deep, straight
from tests.nets.fused import FUSED
from tests.nets.integer import scale, whole


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


def ends(make, **options):
    """Of every run, what is computed in it, its beginning left out."""
    coupling, seen = every(make, **options)
    made = coupling.graph.made_by
    runs = [each for each in seen.found if each.kind == "run"]
    assert all(each.end == each.name and each.add in each.nodes for each in runs)
    return [(made[each.shortcut].op, ops(coupling, each)) for each in runs]


BLOCK = ["BatchNormalization", "Conv", "Relu"]


@pytest.mark.parametrize("batch", [2, "N"])
def test_a_layer_between_two_of_one_size_is_a_run_up_to_the_next_product(batch):
    assert ends(straight.plain, batch=batch) == [("Relu", BLOCK), ("Relu", BLOCK)]
    assert ends(straight.gated, batch=batch)[1] == ("Mul", ["Conv", "Relu"])


@pytest.mark.parametrize("batch", [2, "N"])
def test_what_gates_a_tensor_is_a_run(batch):
    """The outer one of two with the same products."""
    gate = ["Conv", "Conv", "GlobalAveragePool", "Mul", "Relu", "Sigmoid"]
    assert ends(straight.gated, batch=batch)[0] == ("Relu", gate)


def test_levels_of_a_net_that_joins_them_are_runs_in_one_another():
    coupling, seen = every(straight.unet, batch="N")
    inner, middle, outer = seen.found
    assert inner.nodes < middle.nodes < outer.nodes
    assert [ops(coupling, each).count("Conv") for each in seen.found] == [1, 4, 6]
    assert [ops(coupling, each).count("Concat") for each in seen.found] == [0, 1, 2]


def test_recurrent_layers_of_one_size_are_runs():
    found = ends(straight.stack, batch="N")
    assert [op for _, op in found] == [
        [op, "Reshape", "Transpose"] for op in ("LSTM", "GRU", "LSTM")
    ]


def test_a_run_ends_where_another_stream_comes_in():
    """So it lies in a branch or around it, and none is the branch itself."""
    _, seen = every(straight.mixed, batch="N")
    first, branch, last = seen.found
    assert [each.kind for each in seen.found] == ["run", "residual", "run"]
    assert not first.nodes & branch.nodes and not last.nodes & branch.nodes
    _, seen = every(deep.inverted, batch="N")
    inner, branch = seen.found[:2]
    assert inner.kind == "run" and inner.nodes < branch.nodes


def test_a_run_ends_before_what_is_no_part_of_it_is_added():
    """Else what comes in would be lost with it."""

    def two(n):
        x, z = (n.Relu(n.linear(n.input(name, 4), 4, 6)) for name in ("x", "z"))
        return n.linear(n.Relu(n.Add(n.linear(x, 6, 6), z)), 6, 3)

    assert ends(two, batch="N") == [("Relu", ["Add", "MatMul"])]


def test_lengths_that_agree_at_one_size_only_are_no_run():
    model = net(straight.of_one_length)
    for size, count in ((straight.LENGTH, 1), (None, 1)):
        shapes = size and {"x": (2, size, 5)}
        coupling = analyse(read(model, input_shapes=shapes), strict=True)
        runs = [each for each in branches(coupling).found if each.kind == "run"]
        assert [ops(coupling, each) for each in runs] == [["Conv", "Relu"]] * count


def test_what_is_needed_elsewhere_is_no_run():
    _, seen = every(deep.convolved_features)
    assert not seen.found

    def shown(n):
        x = deep.stem(n)
        y = n.Relu(n.conv(x, deep.WIDTH, deep.WIDTH))
        return [n.head(n.conv(y, deep.WIDTH, deep.WIDTH), deep.WIDTH), n.Identity(y)]

    _, seen = every(shown)
    assert [each.kind for each in seen.found] == ["run"]


@pytest.mark.parametrize("shown", [False, True])
def test_what_the_model_shows_lies_in_no_run(shown):
    def narrow(n):
        x = n.Relu(n.linear(n.input("x", 4), 4, 6))
        inner = n.linear(x, 6, 5)
        made = n.linear(n.linear(n.Relu(inner), 5, 6), 6, 3)
        return [made, inner] if shown else made

    run = ("Relu", ["Add", "Add", "MatMul", "MatMul", "Relu"])
    assert ends(narrow, batch="N") == ([] if shown else [run])


def test_integers_are_no_run():
    _, seen = every(straight.of_bytes, opset=13)
    assert [each.kind for each in seen.found] == ["residual"]


@pytest.mark.parametrize("make", [8, 12])
def test_blocks_of_bytes_also_where_the_shortcut_is_projected(make):
    coupling, seen = found(partial(straight.of_bytes, make=make), batch="N", opset=13)
    (branch,) = seen.found
    assert ops(coupling, branch) == ["QLinearConv"] * 2
    assert branch.macs == 36 * 9 * (8 * 6 + 6 * make)  # none of the shortcut's own


def projections(n):
    """Sums of a layer beside a longer way, by products that hold more than a matrix."""
    x = n.linear(n.input("x", 6, 5), 5, 32)

    def longer(make):
        return n.linear(n.Tanh(n.linear(x, 32, 5)), 5, make)

    bits = n.const(n.random.integers(0, 255, (12, 2, 8)).astype(np.uint8))
    blocks = n.MatMulNBits(
        x, bits, n.weight(12, 2), domain=FUSED, K=32, N=12, bits=4, block_size=16
    )
    stored = whole(n, 32, 12, dtype=np.uint8), scale(n, 12), n.const(np.full(12, 50, np.uint8))
    dynamic = n.DynamicQuantizeMatMul(x, *stored, domain=FUSED)
    fused = n.FusedMatMul(x, n.weight(32, 12), domain=FUSED, alpha=0.5)
    sums = [n.Add(short, longer(12)) for short in (blocks, dynamic, fused)]
    return [n.linear(n.Tanh(y), 12, 3) for y in sums]


def test_a_product_of_any_kind_is_a_shortcut():
    coupling, seen = found(projections, batch="N")
    made = coupling.graph.made_by
    kinds = [made[each.shortcut].op for each in seen.found]
    assert kinds == ["MatMulNBits", "DynamicQuantizeMatMul", "FusedMatMul"]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("make", [straight.skipped, straight.skipped_first])
def test_sums_that_are_part_of_a_norm_end_branches(make, plain):
    coupling, seen = found(partial(make, plain=plain), batch="N")
    assert not seen.refused
    assert all(coupling.graph.nodes[each.add].op.startswith("Skip") for each in seen.found)
    attention, rest = (ops(coupling, each) for each in seen.found[-2:])
    assert attention.count("MatMul") == 6 and rest == FEED_FORWARD
    assert len(seen.found) == (4 if make is straight.skipped_first else 2)


def test_a_norm_that_shows_its_statistics_ends_no_branch():
    def shown(n):
        x = n.linear(n.input("x", "L", 5), 5, 8)
        y = deep.feed_forward(n, x)
        made = n.SkipLayerNormalization(x, y, n.positive(8), domain="com.microsoft", outs=4)
        return [n.linear(made[0], 8, 3), made[1]]

    _, seen = found(shown)
    assert not seen.found


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
