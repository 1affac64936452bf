"""Walking a graph in steps computes what running it at once does, and forgets what is done."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from spa import runtime
from spa.executor.stream import Stream, names_in
from spa.graph import read
from tests.nets import Net
from tests.nets.layers import residual_sum


def residual_net():
    n = Net(opset=17)
    return n.done(n.head(residual_sum(n), 4))


def all_at_once(model, feeds):
    """Every tensor of a model, by one session."""
    copy = ModelProto()
    copy.CopyFrom(model)
    names = [o for node in model.graph.node for o in node.output if o]
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names)
    session = runtime.session(copy, optimize=False, device="cpu", threads=1)
    return [runtime.run(session, f, names) for f in feeds]


@pytest.fixture(scope="module")
def walk():
    graph = read(residual_net())
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((2, 3, 6, 6), np.float32)} for _ in range(3)]
    return graph, feeds, all_at_once(graph.proto, feeds)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_steps_make_the_same_tensors(walk, step):
    graph, feeds, expected = walk
    model = graph.proto
    stream = Stream(model, graph, feeds)
    seen = set()
    for stop in range(step, len(model.graph.node) + step, step):
        last = model.graph.node[min(stop, len(model.graph.node)) - 1].output[0]
        stream.run_to(stop, (last,))
        for name in set(stream.values) - {"x"}:
            seen.add(name)
            for got, want in zip(stream.values[name], expected, strict=True):
                np.testing.assert_allclose(got, want[name], rtol=1e-4, atol=1e-4)
    assert model.graph.output[0].name in seen
    assert stream.count == 3


def test_tensors_are_dropped_after_their_last_use(walk):
    graph, feeds, _ = walk
    model = graph.proto
    stream = Stream(model, graph, feeds)
    nodes = list(model.graph.node)
    for stop in range(1, len(nodes) + 1):
        stream.run_to(stop)
        made = {"x", *(o for node in nodes[:stop] for o in node.output)}
        assert set(stream.values) == made & {n for node in nodes[stop:] for n in names_in(node)}


def test_kept_tensors_stay_until_they_are_kept_no_more(walk):
    graph, feeds, _ = walk
    model = graph.proto
    stream = Stream(model, graph, feeds)
    first, last = model.graph.node[0].output[0], model.graph.node[-1].output[0]
    stream.run_to(len(stream.nodes), (first, last))
    assert set(stream.values) == {first, last}
    stream.run_to(len(stream.nodes), (last,))
    assert set(stream.values) == {last}


def test_weights_may_be_replaced_on_the_way(walk):
    graph, feeds, expected = walk
    model = graph.proto
    stream = Stream(model, graph, feeds)
    conv = next(n for n in stream.nodes[1:] if n.op_type == "Conv")
    stream.run_to(stream.find(conv.output[0]))
    for name in conv.input[1:]:
        tensor = type(stream.weights[name])()
        tensor.CopyFrom(stream.weights[name])
        tensor.raw_data = bytes(len(tensor.raw_data))
        stream.weights[name] = tensor
    stream.run_to(stream.done + 1, (conv.output[0],))
    assert not np.any(stream.values[conv.output[0]])
    assert np.any(expected[0][conv.output[0]])


def test_tensors_may_stand_in_for_stored_ones(walk):
    graph, feeds, expected = walk
    name = graph.nodes[0].inputs[1]
    stream = Stream(graph.proto, graph, feeds, "cpu", {name: 2 * graph.consts[name]})
    out = graph.nodes[0].outputs[0]
    stream.run_to(1, (out,))
    assert not np.allclose(stream.values[out][0], expected[0][out])
    np.testing.assert_array_equal(stream.array(name), graph.consts[name])
