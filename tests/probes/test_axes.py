"""Which axes are the batch: none of a lone picture, two of different names, one that must be 1."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.coupling.rows import batch_symbols
from spa.graph.single import at_hand
from spa.probes import probe_for
from spa.probes.sizes import sizes_of
from tests.probes.test_choose import model, runs, weights

FRONT = {"zero": np.array([0]), "whole": np.array([1, 3, 16, 24]), "axis": np.array([1])}
TURN = {"perm": [2, 0, 1]}


def lone(shape, before, kind="f"):
    """One picture, which becomes a batch of one on its way to a convolution."""
    nodes = [*before, ("Conv", f"{before[-1][2]} w", "y", {})]
    return model(nodes, {"x": (kind, shape)}, {"w": weights(8, 3, 3, 3), **FRONT}, "y")


CASES = {
    "channels first": ((3, "H", "W"), [("Unsqueeze", "x zero", "b", {})], "NCHW"),
    "channels first, fixed": ((3, 16, 24), [("Unsqueeze", "x zero", "b", {})], "NCHW"),
    "reshaped": ((3, 16, 24), [("Reshape", "x whole", "b", {})], "NCHW"),
    "channels last": (
        ("H", "W", 3),
        [("Unsqueeze", "x zero", "u", {}), ("Transpose", "u", "b", {"perm": [0, 3, 1, 2]})],
        "NHWC",
    ),
    "channels last, transposed first": (
        (16, 24, 3), [("Transpose", "x", "t", TURN), ("Unsqueeze", "t zero", "b", {})], "NHWC",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_picture_without_a_batch_axis_is_one(case):
    shape, before, layout = CASES[case]
    graph = lone(shape, before)
    probe = probe_for(graph)
    assert f"], {layout}: dead leaves" in probe.why and "N," not in probe.why
    assert probe.rows == 1 and at_hand(graph) == 1 and not batch_symbols(graph)
    sides = [size for axis, size in enumerate(graph.shapes["x"]) if shape[axis] != 3]
    assert min(sides) >= 16 and sides[0] != sides[1]
    one, other = (feeds["x"] for feeds in probe.batches(2))
    assert one.shape == graph.shapes["x"] and not np.array_equal(one, other)
    fresh, apart = probe.fresh(3)
    assert len(fresh) == 3 and apart
    runs(graph, probe)


def test_bytes_of_a_lone_picture():
    cast = [("Cast", "x", "c", {"to": TensorProto.FLOAT}), ("Unsqueeze", "c zero", "u", {})]
    transposed = [*cast, ("Transpose", "u", "b", {"perm": [0, 3, 1, 2]})]
    values = probe_for(lone(("H", "W", 3), transposed, "u")).feeds()["x"]
    assert values.dtype == np.uint8 and values.shape[2] == 3 and values.max() > 128


def test_a_channel_that_is_added_leaves_the_batch():
    """[batch, time, features] as pictures of one channel: a new axis, but behind the batch."""
    graph = model(
        [("Unsqueeze", "x axis", "u", {}), ("Conv", "u w", "y", {})],
        {"x": ("f", ("N", 16, 24))},
        {"w": weights(8, 1, 3, 3), **FRONT},
        "y",
    )
    assert batch_symbols(graph) == {"N"} and sizes_of(graph).batch["x"] == 0


def towers(first, second):
    """Two inputs that never meet but in the last product, each with its own name for the batch."""
    return model(
        [
            ("Conv", "images w", "c", {}), ("GlobalAveragePool", "c", "p", {}),
            ("Flatten", "p", "one", {}), ("Gather", "table ids", "e", {}),
            ("ReduceMean", "e", "other", {"axes": [1], "keepdims": 0}),
            ("Transpose", "other", "t", {"perm": [1, 0]}), ("MatMul", "one t", "y", {}),
        ],
        {"images": ("f", (first, 3, 16, 16)), "ids": ("i", (second, 7))},
        {"w": weights(8, 3, 3, 3), "table": weights(40, 8)},
        "y",
    )  # fmt: skip


def test_two_names_for_the_batch_are_two_batches_of_as_many_rows():
    graph = towers("images_batch", "texts_batch")
    assert len(set(graph.dims.values())) == 2  # told apart in the analysis
    probe = probe_for(graph)
    assert probe.rows is None and probe.why.startswith("images [N,3,16,16]")
    assert "ids [N,7]: tokens of 40" in probe.why
    (feeds,) = probe.runs(range(5), 8)
    assert feeds["images"].shape == (5, 3, 16, 16) and feeds["ids"].shape == (5, 7)
    runs(graph, probe)


def test_macs_are_those_of_one_row_of_each_name():
    """The images' MACs are counted at two rows, the texts' at three; both are told for one."""
    two, one = (towers(*names) for names in (("a", "b"), ("N", "N")))
    assert batch_symbols(two) == {"a", "b"} and batch_symbols(one) == {"N"}
    couplings = [analyse(graph) for graph in (two, one)]
    counted = [Cost(coupling)(coupling.everything()).macs for coupling in couplings]
    convolution, product = 8 * 27 * 14 * 14, 8
    assert counted[0] == pytest.approx(convolution + 2 * product)  # all pairs: 2 x 3 for 3 rows
    assert counted[1] == pytest.approx(convolution + 2 * product)  # 2 x 2 for 2 rows


def test_rows_are_those_of_one_name():
    """The same inputs, whatever their batch is called."""
    two, one = (probe_for(towers(*names)) for names in (("a", "b"), ("N", "N")))
    for mine, yours in zip(two.batches(6, 4), one.batches(6, 4), strict=True):
        assert all(np.array_equal(mine[name], yours[name]) for name in mine)


def test_nodes_and_edges_are_no_batches():
    """Where a symbol is met on another axis too, nobody knows how its size follows from rows."""
    graph = model(
        [
            ("MatMul", "nodes w", "h", {}), ("MatMul", "edges v", "k", {}),
            ("Gather", "ends first", "e", {"axis": 0}), ("Gather", "h e", "g", {}),
            ("Add", "g k", "y", {}),
        ],
        {"nodes": ("f", ("V", 6)), "edges": ("f", ("E", 5)), "ends": ("i", (2, "E"))},
        {"w": weights(6, 4), "v": weights(5, 4), "first": np.array(0)},
        "y",
    )  # fmt: skip
    assert set(sizes_of(graph).batch.values()) == {None}
