"""The masked original: every dropped channel is zero, everywhere, and nothing else changes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from spa import runtime
from spa.coupling import analyse
from spa.graph import read
from spa.probes import plain
from spa.trace import Kept
from spa.validate.layout import layout_of
from spa.validate.mask import masked
from tests import oracles
from tests.carried import coupling_of
from tests.nets import MOTIFS, Net

NAMES = ("residual", "grouped", "attention_separate", "attention_linear", "dense", "prelu")


def activations(model, feeds):
    """Every tensor that some node makes."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    known = {o.name for o in proto.graph.output}
    names = [o for n in proto.graph.node for o in n.output if o and o not in known]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return runtime.run(runtime.session(proto, optimize=False, threads=1), feeds)


@pytest.mark.parametrize("name", NAMES)
def test_dropped_elements_are_zero_and_all_of_them(name):
    coupling = coupling_of(name)
    alive = oracles.scattered(0.5, 2)(coupling)
    feeds = plain.feeds(coupling.graph)
    seen = activations(masked(coupling, alive), feeds)
    left = Kept(coupling.notes, coupling.root, alive)
    touched = 0
    for tensor, image in coupling.notes.images.items():
        if tensor not in seen or not image.maps:
            continue
        kept = layout_of(image, left).at(image.shape)
        assert not seen[tensor][~kept].any(), tensor
        touched += not kept.all()
    assert touched >= 2


def test_a_dropped_channel_has_no_influence():
    """Its weights may be anything: the masked model does not see them."""
    coupling = coupling_of("residual")
    alive = oracles.scattered(0.5, 2)(coupling)
    feeds = plain.feeds(coupling.graph)
    want = runtime.run(runtime.session(masked(coupling, alive)), feeds)
    model = MOTIFS["residual"].build()
    stem = coupling.groups[0]
    dead = np.flatnonzero(~alive[stem.cells[0]])
    for tensor in model.graph.initializer:
        axes = [m.axis for m in stem.members if m.tensor == tensor.name and m.role != "follows"]
        array = onnx.numpy_helper.to_array(tensor).copy()
        for axis in axes:
            np.moveaxis(array, axis, 0)[dead] = 1e3
        if axes:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    spoilt = analyse(read(model))
    got = runtime.run(runtime.session(masked(spoilt, alive)), feeds)
    for name, value in want.items():
        np.testing.assert_array_equal(value, got[name])


def test_keeping_everything_masks_nothing():
    coupling = coupling_of("digits")
    assert masked(coupling, coupling.everything()) == coupling.graph.proto


def test_the_original_is_not_touched():
    coupling = coupling_of("digits")
    before = coupling.graph.proto.SerializeToString(deterministic=True)
    masked(coupling, oracles.scattered(0.5, 1)(coupling))
    assert coupling.graph.proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("opset", [7, 8, 9, 17, 21])
def test_every_type_and_opset_can_be_held(dtype, opset):
    n = Net(opset=opset, dtype=dtype)
    if dtype is ml_dtypes.bfloat16 and opset < 17:
        return  # no operator takes it yet
    y = n.Gemm(n.input("x", 4), n.weight(4, 6), n.weight(6))
    model = n.done(n.Gemm(n.Relu(y), n.weight(6, 3), n.weight(3)))
    coupling = analyse(read(model), strict=True)
    alive = oracles.scattered(0.5, 1)(coupling)
    held = masked(coupling, alive)
    try:
        runtime.session(model)
    except Exception:
        onnx.checker.check_model(held)  # this onnxruntime has no kernel for the net itself
        return
    out = runtime.run(runtime.session(held), plain.feeds(coupling.graph))
    assert all(np.isfinite(v.astype(np.float64)).all() for v in out.values())
