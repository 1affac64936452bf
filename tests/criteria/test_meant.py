"""Stored integers are ranked by what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import spa

ZERO = 200


def stored():
    """Integers, scales per channel, and a zero point far from the middle."""
    random = np.random.default_rng(3)  # of its own: which tests run before does not count
    first = random.integers(150, 250, (12, 3, 3, 3)).astype(np.uint8)
    scale = np.linspace(0.001, 0.1, 12).astype(np.float32)[random.permutation(12)]
    second = random.integers(-99, 99, (4, 12, 3, 3)).astype(np.int8)
    return first, scale, second


def model(first, scale, second, *, quantised):
    """Two convolutions; as floats, or as bytes behind DequantizeLinear."""
    zero = np.full(12, ZERO, np.uint8)
    floats = {
        "w": ((first.astype(np.float32) - ZERO) * scale.reshape(-1, 1, 1, 1)).astype(np.float32),
        "v": second.astype(np.float32) * np.float32(0.02),
    }
    whole = {"w": first, "v": second, "s": scale, "z": zero, "t": np.float32(0.02)}
    nodes = [
        helper.make_node("Conv", ["x", "wf" if quantised else "w"], ["y"], pads=[1] * 4),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("Conv", ["r", "vf" if quantised else "v"], ["out"], pads=[1] * 4),
    ]
    if quantised:
        nodes[:0] = [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"], axis=0),
            helper.make_node("DequantizeLinear", ["v", "t"], ["vf"]),
        ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [info("out", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [
            numpy_helper.from_array(np.asarray(a), n)
            for n, a in (whole if quantised else floats).items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("scorer", ["l1", "l2", "fpgm"])
def test_integers_are_ranked_as_what_they_stand_for(scorer):
    given = stored()
    kept = []
    for quantised in (True, False):
        plan = spa.plan(model(*given, quantised=quantised), 0.5, scorer=scorer, round_to=1).plan
        kept.append(plan.tensors["w"]["keep"])
    assert kept[0] == kept[1] and kept[0]
