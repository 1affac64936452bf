"""Ids in places where they are easily missed: read by a branch alone, or given as floats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from spa.graph import read
from spa.probes import plain, probe_for
from tests.nets.bodies import STEP, body, choose, on
from tests.nets.net import Net
from tests.probes.test_choose import model, runs, weights


def branching() -> onnx.ModelProto:
    """Each branch looks the ids up in the one table; nothing else reads them."""
    n = Net(batch="N")
    ids = n.input("ids", 6, dtype=np.int64)
    flag = n.input("flag", dtype=np.bool_, batched=False)
    table, one, other = n.weight(50, 8), n.weight(8, 8), n.weight(8, 8)

    def side(w: str) -> list[str]:
        return [n.MatMul(n.Gather(table, ids), w)]

    return n.done(choose(n, flag, lambda: side(one), lambda: side(other)))


def looping() -> onnx.ModelProto:
    """A state of a loop holds the ids when they are looked up."""
    n = Net(batch="N")
    ids = n.input("ids", 6, dtype=np.int64)
    table = n.weight(50, 8)

    def step(number: str, held: str) -> list[str]:
        return [n.Identity(held), n.Gather(table, held)]

    made = [*STEP, ("state", np.int64, ("N", 6))]
    graph = body(n, lambda number, go, held: [on(n, go), *step(number, held)], made)
    trips, go = n.const(np.int64(2)), n.const(np.bool_(True))
    _, stacked = n.Loop(trips, go, ids, body=graph, outs=2)
    return n.done(n.Transpose(stacked, perm=[1, 0, 2, 3]))


@pytest.mark.parametrize("make", (branching, looping))
def test_ids_that_only_a_body_reads(make):
    graph = read(make())
    probe = probe_for(graph)
    assert "ids [N,6]: tokens of 50" in probe.why
    values = probe.feeds(20)["ids"]
    assert values.min() >= 1 and values.max() < 50 and len(np.unique(values)) > 30
    assert len(np.unique(plain.feeds(graph)["ids"])) > 5  # those of the proof, too
    runs(graph, probe)


def through(*steps):
    """A float input that is made whole by `steps` and then looked up."""
    nodes, tensor = [], "x"
    for k, (op, more, attributes) in enumerate(steps):
        nodes.append((op, f"{tensor} {more}".strip(), f"t{k}", attributes))
        tensor = f"t{k}"
    nodes.append(("Gather", f"table {tensor}", "y", {}))
    constants = {
        "table": weights(90, 4), "low": np.float32(0), "high": np.float32(89),
        "shape": np.array([0, 12]), "axis": np.array([2]),
    }  # fmt: skip
    return model(nodes, {"x": ("f", ("N", 12))}, constants, "y")


WHOLE = ("Cast", "", {"to": TensorProto.INT32})


@pytest.mark.parametrize(
    "steps",
    (
        [WHOLE],
        [("Floor", "", {}), WHOLE],
        [("Round", "", {}), ("Reshape", "shape", {}), WHOLE],
        [("Clip", "low high", {}), WHOLE],
        [("Unsqueeze", "axis", {}), ("Squeeze", "axis", {}), WHOLE],
        [("Transpose", "", {"perm": [1, 0]}), ("Transpose", "", {"perm": [1, 0]}), WHOLE],
        [WHOLE, ("Cast", "", {"to": TensorProto.INT64})],
    ),
)
def test_floats_that_are_looked_up_are_ids(steps):
    graph = through(*steps)
    probe = probe_for(graph)
    assert "x [N,12]: tokens of 90" in probe.why
    values = probe.feeds(20)["x"]
    assert values.dtype == np.float32 and np.array_equal(values, np.rint(values))
    assert values.min() >= 1 and values.max() < 90 and len(np.unique(values)) > 50
    proof = plain.feeds(graph)["x"]
    assert np.array_equal(proof, np.rint(proof)) and proof.max() > 5
    runs(graph, probe)


def test_a_mask_made_of_ids_leaves_them_ids():
    """As a layer with masking has it: padding is what equals 0."""
    graph = model(
        [
            ("Equal", "x zero", "padded", {}),
            ("Cast", "padded", "weight", {"to": TensorProto.FLOAT}),
            ("Cast", "x", "ids", {"to": TensorProto.INT32}),
            ("Gather", "table ids", "e", {}),
            ("Unsqueeze", "weight axis", "wide", {}),
            ("Mul", "e wide", "y", {}),
        ],
        {"x": ("f", ("N", 12))},
        {"table": weights(90, 4), "zero": np.float32(0), "axis": np.array([2])},
        "y",
    )
    assert "tokens of 90" in probe_for(graph).why


@pytest.mark.parametrize("op", ("Mul", "Sub"))
def test_floats_that_are_computed_with_are_no_ids(op):
    """Coordinates, say: what they index follows from them, but they are no indices."""
    graph = model(
        [
            (op, "x c", "moved", {}),
            ("Floor", "x", "below", {}),
            ("Cast", "below", "ids", {"to": TensorProto.INT32}),
            ("Gather", "table ids", "e", {}),
            ("Unsqueeze", "moved axis", "wide", {}),
            ("Mul", "e wide", "y", {}),
        ],
        {"x": ("f", ("N", 12))},
        {"table": weights(90, 4), "c": np.float32(2), "axis": np.array([2])},
        "y",
    )
    assert "x [N,12]: normal numbers" in probe_for(graph).why


def test_an_open_length_of_floats_is_that_of_a_sequence():
    graph = model(
        [("Cast", "x", "i", {"to": TensorProto.INT32}), ("Gather", "table i", "y", {})],
        {"x": ("f", ("N", "L"))},
        {"table": weights(90, 4)},
        "y",
    )
    probe = probe_for(graph)
    assert probe.lengths is not None
    assert len({feeds["x"].shape[1] for feeds in probe.batches(20)}) > 3
