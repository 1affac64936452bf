"""What a file says of its tensors' shapes: carried over where it is true."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spa import runtime
from spa.coupling import analyse
from spa.coupling.describe import ALONE
from spa.graph import read
from spa.rewrite import rewrite
from spa.trace import EVEN, MAKES, TIED
from tests.carried import coupling_of
from tests.nets import MOTIFS, Net


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


def test_channels_that_are_one_unit_are_named_with_what_ties_them():
    """Filters are part of what one matrix makes, and go together or not at all."""
    n = Net(batch=1)
    read_by = n.conv(n.input("x", 4, 8, 8), 4, 6)
    banked = n.slice(n.MatMul(n.input("mix", 3), n.weight(3, 5 * 6 * 9 + 2)), 0, 270, 1)
    mixing = n.Conv(read_by, n.Reshape(banked, n.ints(5, 6, 3, 3)), kernel_shape=[3, 3])
    coupling = analyse(read(n.done(n.conv(n.Relu(mixing), 5, 2))), strict=True)
    tied = [f for f in coupling.frozen if f.reason.text == TIED]
    assert {(f.reason.op, f.reason.node) for f in tied} == {("Conv", mixing)}
    assert_all_told(coupling)


def test_a_channel_that_is_alone_is_named():
    """Of what is split off a stack one channel at a time, none can stand in for another."""
    n = Net(batch=1)
    first, rest = n.split(n.conv(n.input("x", 4, 8, 8), 4, 6), (1, 5), 1)
    sides = n.conv(n.Sigmoid(first), 1, 2), n.conv(n.Relu(rest), 5, 2)
    coupling = analyse(read(n.done(n.Add(*sides))), strict=True)
    assert [f.channels for f in coupling.frozen if f.reason == ALONE] == [1]
    assert_all_told(coupling)


@pytest.mark.parametrize("name", ["digits", "fashion", *MOTIFS])
def test_every_channel_is_in_a_group_or_named(name):
    assert_all_told(coupling_of(name))


def assert_all_told(coupling):
    """Every label that a stored tensor makes is free, frozen, or listed as neither."""
    grouped = np.concatenate([g.cells.ravel() for g in coupling.groups] or [[]]).astype(int)
    lone: set[int] = set()
    for param in coupling.notes.params.values():
        index_map = param.index_map(MAKES)
        if index_map is not None and param.tensor is not None:
            lone |= {
                *np.unique(index_map.ids[~np.isin(coupling.root[index_map.ids], [0, *grouped])])
            }
    listed = (ALONE.text, EVEN.text, TIED)
    told = [f.channels for f in coupling.frozen if f.reason.text.startswith(listed)]
    assert sum(told) == len(lone)
