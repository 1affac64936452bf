"""Bodies of If, Loop and Scan: how they are opened, followed, cut and counted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import spa
from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.errors import VerifyError
from spa.graph import Graph, read
from spa.graph.model import FLOW
from spa.plans import place, plan_of
from spa.probes import plain
from spa.rewrite import rewrite
from spa.validate.mask import masked
from spa.validate.neutral import all_graphs, unsaturated
from spa.validate.verify import verify
from tests import oracles
from tests.graph.small import check_against_engine, model
from tests.nets import BATCH, MOTIFS, Net
from tests.nets.bodies import STEP, body, choose, loop, positive, scan

RANDOM = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) * 0.4).astype(np.float32)


def inside(graph: Graph) -> list[str]:
    """The operators in bodies, borders left out."""
    return [node.op for node in graph.inner if node.domain != FLOW]


def reasons(graph: Graph) -> set[tuple[str, str]]:
    coupling = analyse(graph, strict=True)
    return {(f.reason.op, f.reason.text) for f in coupling.frozen}


# --- how they are opened ------------------------------------------------------------------------


def test_numbers_go_on_inside_and_the_order_is_that_of_running() -> None:
    graph = read(MOTIFS["scan_in_loop"].build())
    assert [node.index for node in graph.nodes] == list(range(len(graph.nodes)))
    assert [graph.at(node.index) for node in graph.inner] == list(graph.inner)
    made: set[str] = {*graph.inputs, *graph.consts, ""}
    for node in graph.order:
        assert made.issuperset(node.inputs), node
        made.update(node.outputs)
    assert {n.op for n in graph.nodes} - {n.op for n in graph.order} == {"Loop"}


def test_a_graph_without_bodies_is_its_own_order() -> None:
    graph = read(MOTIFS["plain"].build())
    assert graph.order is graph.nodes and graph.inner == ()


def test_what_bodies_store_and_what_follows_from_it_moves_out() -> None:
    graph = check_against_engine(
        model(
            "g (float[2,3] x, bool c) => (y) { y = If(c)"
            "<then_branch = t () => (float[2,4] p)"
            " <float[4,3] w = {1,2,3,4,5,6,7,8,9,1,2,3}>"
            " { v = Transpose(w) p = MatMul(x, v) },"
            " else_branch = e () => (float[2,4] n)"
            " { k = Constant<value_float=2.0>() s = Constant<value_ints=[2,4]>() n = Expand(k, s) }"
            " > }"
        )
    )
    assert graph.consts["v"].shape == (3, 4)
    assert sorted(inside(graph)) == ["Expand", "MatMul"]
    for attribute in graph.proto.graph.node[-1].attribute:
        assert not attribute.g.initializer


def test_names_are_everybodys_own() -> None:
    graph = read(MOTIFS["names_that_clash"].build())
    made = [name for node in graph.order for name in node.outputs if name]
    assert len(set(made)) == len(made)
    assert not set(made) & set(graph.consts)


def test_states_that_never_change_are_read_from_outside() -> None:
    proto = MOTIFS["weights_go_round"].build()
    graph = read(proto)
    (before,), (after,) = (
        [node for node in g.node if node.op_type == "Loop"]
        for g in (proto.graph, graph.proto.graph)
    )
    assert (len(before.input), len(after.input)) == (5, 3)
    assert (len(before.output), len(after.output)) == (3, 1)


def test_a_state_that_is_an_output_stays_one() -> None:
    text = """g (float[2,3] x) => (h, k) {
        h, k = Loop(five, , x, x) <body = l (int64 i, bool c, float[2,3] s, float[2,3] t)
          => (bool c2, float[2,3] s2, float[2,3] t2)
          { c2 = Identity(c) s2 = Neg(s) t2 = Identity(t) }> }"""
    graph = check_against_engine(model(text, {"five": np.int64(5)}))
    assert graph.outputs == ("h", "k") and graph.shapes["k"] == (2, 3)


def test_a_scan_over_batches_stays_closed() -> None:
    text = """g (float[2,3] s, float[2,5,3] x) => (y, z) {
        y, z = Scan(, s, x) <num_scan_inputs = 1, body = l (float[3] a, float[3] b)
          => (float[3] d, float[3] e) { d = Add(a, b) e = Neg(d) }> }"""
    graph = read(model(text, opset=8))
    assert graph.inner == () and graph.order == graph.nodes
    assert analyse(graph).notes.unknown[0].text == "no rule for Scan"


# --- what is followed ---------------------------------------------------------------------------


def early(n: Net, trips: int, last: int) -> list[str]:
    """A Loop that may run `trips` times, and ends after `last`."""
    x = n.input("x", 6)
    y = n.Relu(n.linear(x, 6, 8))

    def make(number: str, go: str, h: str) -> list[str]:
        new = n.Tanh(n.Add(n.linear(h, 8, 8), y))
        again = n.name("cond")
        n.nodes.append(
            onnx.helper.make_node("Less", [number, n.const(np.int64(last - 1))], [again])
        )
        return [again, new, n.Neg(new)]

    graph = body(n, make, [*STEP, ("state", None, None)], inside=True)
    given = n.const(np.int64(trips)), n.const(np.bool_(True)), y
    h, seen = n.Loop(*given, body=graph, outs=2)
    total = n.reduce("ReduceSum", seen, 0, keep=False)
    return [n.Add(n.linear(h, 8, 5), n.linear(total, 8, 5)), n.linear(seen, 8, 3)]


@pytest.mark.parametrize("last", [1, 2, 5])
def test_how_often_a_loop_runs_is_one_size_among_others(last: int) -> None:
    """Shapes are those of a full run, and what is cut is right however many steps it takes."""
    net = Net(batch=BATCH, sizes="zero")
    graph = read(net.done(*early(net, 5, last)))
    stacked = next(node for node in graph.order if node.op == "Loop stack")
    assert graph.shapes[stacked.outputs[0]][0] == 5
    coupling = analyse(graph, strict=True)
    assert oracles.groups_of(coupling) == "8"
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, 0))
    small = rewrite(coupling, alive)
    oracles.masked(coupling, alive, small)
    oracles.works(coupling, alive, small)


def test_a_size_that_a_loop_decides_is_never_folded() -> None:
    text = """g (float[2,3] x) => (y) {
        h, all = Loop(five, yes, x) <body = l (int64 i, bool c, float[2,3] s)
          => (bool c2, float[2,3] s2, float[2,3] o)
          { c2 = Less(i, one) s2 = Neg(s) o = Relu(s2) }>
        t = Shape(all) y = Identity(t) }"""
    stored = {"five": np.int64(5), "yes": np.bool_(True), "one": np.int64(1)}
    graph = read(model(text, stored))
    assert "t" not in graph.consts
    (found,) = spa.runtime.run(spa.runtime.session(graph.proto), plain.feeds(graph)).values()
    assert found.tolist() == [2, 2, 3]


def test_a_state_that_grows_stays_whole() -> None:
    net = Net()
    y = net.Relu(net.linear(net.input("x", 3), 3, 4))

    def step(_: str, h: str) -> list[str]:
        return [net.Concat(h, h, axis=0)]

    h = loop(net, 2, step, [y], 1)
    graph = read(net.done(net.linear(h, 4, 5)))
    assert ("Loop state", "shape of an output is not known") in reasons(graph)


def test_a_sequence_stays_whole() -> None:
    net = Net()
    y = net.Relu(net.linear(net.input("x", 3), 3, 4))
    items = net.SequenceConstruct(y, net.Neg(y))

    def make(number: str, go: str, kept: str) -> list[str]:
        out = net.name("cond")
        net.nodes.append(onnx.helper.make_node("Identity", [go], [out]))
        return [out, net.SequenceInsert(kept, y)]

    graph = body(net, make, [*STEP, ("items", None, None)])
    kind = onnx.helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    for info in (graph.input[2], graph.output[1]):
        info.type.CopyFrom(onnx.helper.make_sequence_type_proto(kind))
    trips, go = net.const(np.int64(2)), net.const(np.bool_(True))
    items = net.Loop(trips, go, items, body=graph)
    found = read(net.done(net.linear(net.SequenceAt(items, net.const(np.int64(0))), 4, 5)))
    assert {op for op, _ in reasons(found)} >= {"SequenceConstruct"}
    assert not analyse(found).groups


def test_a_branch_that_is_not_walked_stays_whole() -> None:
    """Whether a rank or a size decides: what the other branch reads cannot be followed."""
    text = """g (float[N,4] x) => (y) { h = MatMul(x, w) s = Shape(h) n = Gather(s, zero)
        c = Equal(n, one) z = If(c)
        <then_branch = t () => (float[6] p) { p = Squeeze(h, first) },
         else_branch = e () => (float[N,6] q) { q = Relu(h) }> y = MatMul(z, v) }"""
    stored = {
        "w": weight(4, 6), "v": weight(6, 5), "zero": np.int64(0), "one": np.int64(1),
        "first": np.array([0]),
    }  # fmt: skip
    assert not analyse(read(model(text, stored)), strict=True).groups


# --- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan_both_ways", "if_in_loop", "loop_from_zeros"])
def test_the_source_is_never_changed(name: str) -> None:
    graph = read(MOTIFS[name].build())
    before = graph.proto.SerializeToString(deterministic=True)
    coupling = analyse(graph, strict=True)
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, 0))
    first, second = rewrite(coupling, alive), rewrite(coupling, alive)
    masked(coupling, alive)
    assert graph.proto.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_bodies_say_the_sizes_they_have() -> None:
    coupling = analyse(read(MOTIFS["loop_from_zeros"].build()), strict=True)
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, 0))
    (node,) = (n for n in rewrite(coupling, alive).graph.node if n.op_type == "Loop")
    (graph,) = (a.g for a in node.attribute)
    sizes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input[2:]]
    assert sizes == [[], [1, 3], [1, 3]]  # 6 and 7 before


def test_plans_name_what_lies_inside() -> None:
    net = Net(seed=3)
    y = net.Relu(net.linear(net.input("x", 3), 3, 8))
    sides = (lambda: [net.linear(y, 8, 6)], lambda: [net.Relu(net.linear(y, 8, 6))])
    z = choose(net, positive(net, y), *sides, inside=True)
    proto = net.done(net.linear(z, 6, 5))
    held = [t.name for n in proto.graph.node for a in n.attribute for t in a.g.initializer]
    coupling = analyse(read(proto), strict=True)
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, 0))
    plan = plan_of(coupling, alive)
    assert len(held) == 4 and set(held) <= set(plan.tensors)
    again = analyse(read(proto))
    found, missing = place(again, plan)
    assert not missing
    assert rewrite(again, found).SerializeToString() == rewrite(coupling, alive).SerializeToString()


# --- what is counted ----------------------------------------------------------------------------


def test_steps_are_counted() -> None:
    net = Net(batch=2)
    y = net.Relu(net.linear(net.input("x", 5, 4), 4, 9))  # 2 x 5 x 4 x 9
    h = net.linear(net.input("h", 3), 3, 8)  # 2 x 3 x 8

    def step(h: str, x: str) -> list[str]:  # 5 x 2 x (8 + 9) x 8
        return [net.Tanh(net.Add(net.linear(h, 8, 8), net.linear(x, 9, 8)))]

    h = scan(net, step, [h], [y], 1, scan_input_axes=[1])
    h = loop(net, 3, lambda _, h: [net.Tanh(net.linear(h, 8, 8))], [h], 1)  # 3 x 2 x 8 x 8
    coupling = analyse(read(net.done(net.linear(h, 8, 5))))  # 2 x 8 x 5
    macs = 2 * (5 * 4 * 9 + 3 * 8 + 5 * 17 * 8 + 3 * 8 * 8 + 8 * 5)
    assert Cost(coupling)(coupling.everything()).macs == macs


def test_branches_that_multiply_count_their_mean() -> None:
    net = Net(batch=2)
    x = net.input("x", 4)
    wide = (lambda: [net.linear(x, 4, 8)], lambda: [net.linear(net.linear(x, 4, 4), 4, 8)])
    y = choose(net, positive(net, x), *wide)
    z = choose(net, positive(net, x), lambda: [net.linear(y, 8, 8)], lambda: [net.Neg(y)])
    coupling = analyse(read(net.done(net.linear(z, 8, 5))))
    macs = 2 * ((4 * 8 + 4 * 4 + 4 * 8) / 2 + 8 * 8 + 8 * 5)
    assert Cost(coupling)(coupling.everything()).macs == macs


@pytest.mark.parametrize("name", ["scan_forward", "if_with_weights", "loop_from_zeros"])
def test_the_whole_way(name: str) -> None:
    """Scores, a budget, a refit outside the bodies, and a verification that runs both."""
    done = spa.prune(MOTIFS[name].build(), 0.3, seed=1)
    assert done.report["status"] == "ok"
    assert done.report["reduction"]["macs"] >= 0.3
    assert done.report["verify"]["equivalence_error"] < 1e-4


# --- how it is verified -------------------------------------------------------------------------


def cut(coupling, seed: int = 0):
    coupling, alive, _ = oracles.fitted(coupling, oracles.scattered(0.5, seed))
    return coupling, alive, rewrite(coupling, alive)


def test_statistics_inside_are_taken_out_of_both() -> None:
    coupling, alive, small = cut(analyse(read(MOTIFS["norm_inside"].build()), strict=True))
    assert oracles.without_statistics(coupling, alive, small) < 1e-5
    verdict = verify(coupling, alive, small)
    assert [reason.op for reason in verdict.lossy] == ["LayerNormalization"]
    assert verdict.equivalence is not None and verdict.equivalence < 1e-5


def test_a_saturated_sigmoid_inside_a_branch_is_taken_out() -> None:
    net = Net(opset=17)
    y = net.Relu(net.linear(net.input("x", 4, 8), 8, 16))

    def side() -> list[str]:
        z = net.Sigmoid(net.Sub(net.linear(y, 16, 2), net.const(np.float32(14.5))))
        return [net.reduce("ReduceMean", z, 1)]

    z = choose(net, positive(net, y), side, side)
    coupling, alive, small = cut(analyse(read(net.done(net.squeeze(z, 1))), strict=True))
    assert verify(coupling, alive, small).equivalence < 1e-4
    whole = [unsaturated(m).graph for m in (coupling.graph.proto, small)]
    left = [n.op_type for g in whole for each in all_graphs(g) for n in each.node]
    assert "Sigmoid" not in left and "Sub" in left


def test_a_wrong_body_is_noticed() -> None:
    """What verification compares does reach into bodies."""
    coupling, alive, small = cut(analyse(read(MOTIFS["loop_with_state"].build()), strict=True))
    (node,) = (n for n in small.graph.node if n.op_type == "Loop")
    inner = node.attribute[0].g.node
    tanh = next(n for n in inner if n.op_type == "Tanh")
    tanh.op_type = "Sigmoid"
    with pytest.raises(VerifyError):
        verify(coupling, alive, small)
