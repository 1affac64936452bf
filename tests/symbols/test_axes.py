"""What is said of lengths that look fixed at the sizes that were tried, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from spa import runtime
from spa.coupling import analyse
from spa.graph import Graph, read
from spa.rewrite import rewrite
from tests.nets.net import Net
from tests.oracles import single
from tests.symbols.lengths import zeroed
from tests.symbols.nets import build


def mask(graph: Graph, op: str, of: str) -> list[bool] | None:
    """Which elements of the first such node behind another one are symbolic."""
    made = {name for node in graph.order if node.op == of for name in node.outputs}
    name = next(n.outputs[0] for n in graph.order if n.op == op and made & set(n.inputs))
    found = graph.symbolic.get(name)
    return None if found is None else found.tolist()


def last_of_many() -> ModelProto:
    """The last row of a slice that is as long for all short inputs: positions of another table."""
    n = Net(batch="N", sizes="computed")
    x = n.input("x", "T", 5)
    end = n.Max(n.Gather(n.Shape(x), n.ints(1)), n.ints(40))
    rows = n.Slice(n.weight(64, 1), n.ints(0), end, n.ints(0))
    last = n.Sub(n.Gather(n.Shape(n.Relu(rows)), n.ints(0)), n.ints(1))
    found = n.Gather(n.weight(64, 3, scale=1.0), last)
    return n.done(n.linear(n.Add(n.linear(x, 5, 3), found), 3, 2))


def test_an_axis_that_looks_fixed_is_symbolic() -> None:
    """The slice is as long at all sizes that are tried; its shape is read behind another node."""
    graph = read(last_of_many())
    made = {name for node in graph.order if node.op == "Relu" for name in node.outputs}
    (shape,) = [n for n in graph.order if n.op == "Shape" and made & set(n.inputs)]
    assert graph.symbolic[shape.outputs[0]].tolist() == [True, False]


def test_rows_at_a_length_that_looks_fixed_keep_the_same_channels() -> None:
    model = last_of_many()
    coupling = analyse(read(model), strict=True)
    alive = single(0)(coupling)
    whole, small = zeroed(coupling, alive), rewrite(coupling, alive)
    sessions = [runtime.session(m, threads=1) for m in (whole, small)]
    for tokens in (3, 50, 63):
        x = np.random.default_rng(tokens).standard_normal((2, tokens, 5)).astype(np.float32)
        (want,), (got,) = (list(runtime.run(s, {"x": x}).values()) for s in sessions)
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_what_is_picked_of_fixed_and_symbolic_sizes_is_told_apart() -> None:
    graph = read(build("cropped_where_a_number_beside_the_length_says"))
    assert mask(graph, "Concat", "Gather") == [True, False]
    assert mask(graph, "Gather", "Concat") is None


@pytest.mark.parametrize(
    ("name", "op", "axis"),
    [
        ("summed_copies", "Expand", 0),
        ("summed_fill", "ConstantOfShape", 0),
        ("repeated", "Tile", 0),
        ("stretched", "Resize", 2),
    ],
)
def test_along_an_axis_of_a_computed_length_lie_no_channels(name: str, op: str, axis: int) -> None:
    """Also where it is as long as it was before, and along all others channels may lie."""
    coupling = analyse(read(build(name)), strict=True)
    nodes = [node for node in coupling.graph.order if node.op == op]
    assert nodes
    for node in nodes:
        image = coupling.notes.images[node.outputs[0]]
        assert axis not in image.axes
        assert image.axes


def test_an_axis_of_a_free_length_that_is_repeated_along_channels_holds_them() -> None:
    """With a batch of 1 it fits all numbers of channels; with 3, the file's own only."""
    n = Net(opset=18, batch="N", sizes="computed")
    x = n.input("x", "T", 5)
    weights = n.Unsqueeze(n.linear(n.ReduceMean(x, n.ints(1), keepdims=0), 5, 3), n.ints(2, 3))
    mixed = n.Add(weights, n.linear(x, 5, 4))
    graph = read(n.done(n.linear(n.ReduceSum(mixed, n.ints(1), keepdims=0), 4, 2)))
    assert graph.dims["N"] == 1
    coupling = analyse(graph, strict=True)
    assert any("open length" in frozen.reason.text for frozen in coupling.frozen)
    model = rewrite(coupling, single(0)(coupling))
    feeds = {"x": np.ones((3, 4, 5), np.float32)}
    (want,), (got,) = (
        runtime.run(runtime.session(m), feeds).values() for m in (graph.proto, model)
    )
    assert want.shape == got.shape
