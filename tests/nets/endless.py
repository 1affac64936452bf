"""A net whose loop never ends: nothing in its sizes says so."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[1,3,8,8] x) => (float[a,b,c,d] y) {
  h = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1)
  r = Relu(h)
  n = Sub(trips, few)
  l = Loop<body = b (int64 i, bool go, float[1,8,8,8] s) => (bool on, float[1,8,8,8] t) {
    on = Identity(go)
    t = Sin(s)
  }>(n, yes, r)
  y = Conv<kernel_shape=[1,1]>(l, w2)
}"""


def endless() -> ModelProto:
    """Two convolutions around a Loop of 2^60 steps."""
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(TEXT)
    stored = {
        "w1": rng.standard_normal((8, 3, 3, 3), np.float32),
        "w2": rng.standard_normal((4, 8, 1, 1), np.float32),
        "trips": np.int64(1 << 60),
        "few": np.int64(1),
        "yes": np.bool_(True),
    }
    for name, value in stored.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return proto
