"""What a file says of its tensors' shapes: carried over where it is true."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from spa import runtime
from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests.nets import Net


def described(*wrong):
    """Two convolutions; their output shapes as they are, or as `wrong` says."""
    n = Net(opset=17, batch=2)
    x = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    proto = onnx.shape_inference.infer_shapes(n.done(n.Relu(n.conv(x, 8, 6))))
    for info in proto.graph.value_info:
        if wrong and info.name == x:
            info.CopyFrom(helper.make_tensor_value_info(x, TensorProto.FLOAT, wrong))
    return proto, x


def halved(proto):
    coupling = analyse(read(proto), strict=True)
    alive = coupling.everything()
    for group in coupling.groups:
        alive[group.cells[:, group.size // 2 :]] = False
    return rewrite(coupling, alive)


def shapes(model):
    return {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in model.graph.value_info
    }


def test_descriptions_follow_the_cut():
    proto, name = described()
    assert shapes(halved(proto))[name] == [2, 4, *shapes(proto)[name][2:]]


def test_descriptions_that_are_not_true_are_left_out():
    for wrong in ((2, 8, 8, 3), (2, 8)):
        proto, name = described(*wrong)
        small = halved(proto)
        assert name not in shapes(small)
        feeds = {"x": np.ones((2, 3, 8, 8), np.float32)}
        (made,) = runtime.run(runtime.session(small, device="cpu"), feeds).values()
        assert np.isfinite(made).all()
