"""im2col against onnxruntime: columns times weight are the convolution."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from spa import runtime
from spa.executor.columns import ENOUGH, PER_FEATURE, places_for, rows_of, unfold

PLAIN = {"strides": [1, 1], "dilations": [1, 1]}
CASES = [
    ((2, 3, 11), (4, 3, 3), {}),
    ((2, 3, 11), (4, 3, 4), {"strides": [3], "dilations": [2], "pads": [2, 1]}),
    ((2, 3, 7, 9), (4, 3, 3, 3), {}),
    ((2, 3, 7, 9), (4, 3, 1, 1), {"strides": [2, 2]}),
    ((2, 3, 7, 9), (4, 3, 3, 2), {"strides": [2, 3], "dilations": [2, 1], "pads": [0, 1, 3, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 3), {"strides": [1, 2, 2], "pads": [0, 1, 2, 1, 0, 1]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 1), {"dilations": [2, 1, 1]}),
    *(
        (space, weight, {"auto_pad": auto, **more})
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for space, weight, more in (
            ((2, 3, 10), (4, 3, 4), {"strides": [3]}),
            ((2, 3, 7, 8), (4, 3, 2, 3), {"strides": [2, 1]}),
            ((2, 3, 8, 6), (4, 3, 4, 2), PLAIN),
        )
    ),
]


def convolved(x, weight, attrs):
    """What onnxruntime says."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attrs)
    infos = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, list(a.shape))
        for n, a in (("x", x), ("w", weight))
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", infos, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.session(model, device="cpu", threads=1)
    return runtime.run(session, {"x": x, "w": weight})["y"]


@pytest.mark.parametrize(("shape", "kernel", "attrs"), CASES)
def test_columns_times_weight_are_the_convolution(shape, kernel, attrs):
    rng = np.random.default_rng(len(shape))
    x = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal(kernel, np.float32)
    y = convolved(x, weight, attrs)
    flat = weight.reshape(len(weight), -1)
    everywhere = unfold(x, kernel, attrs, y.shape[2:])
    np.testing.assert_allclose(flat @ everywhere, rows_of(y), rtol=1e-4, atol=1e-4)
    size = int(np.prod(y.shape[2:]))
    places = np.unique(rng.integers(0, size, max(1, size // 2)))
    some = unfold(x, kernel, attrs, y.shape[2:], places)
    np.testing.assert_allclose(flat @ some, rows_of(y, places), rtol=1e-4, atol=1e-4)
    assert some.shape == (flat.shape[1], len(x) * len(places))


def test_places_are_taken_only_where_there_are_many():
    assert places_for(9, 64, 4, seed=0) is None
    whole = 8 * 32
    places = places_for(9, 10_000, whole, seed=0)
    assert len(places) * 256 >= ENOUGH and len(places) < 10_000
    assert (np.diff(places) > 0).all() and places.min() >= 0 and places.max() < 10_000
    np.testing.assert_array_equal(places, places_for(9, 10_000, whole, seed=0))
    wide = places_for(ENOUGH, 10_000, whole, seed=0)
    assert len(wide) * 256 >= PER_FEATURE * ENOUGH
