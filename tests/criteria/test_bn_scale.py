"""Scales of BatchNormalizations as scores, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from spa.coupling import analyse
from spa.criteria import Context, score
from spa.errors import ReadError
from spa.graph import read
from tests.nets import Net

GAMMA = np.array([0.5, -2.0, 0.0, 1.0], np.float32)


def net(*, norm=True):
    """Four channels with a norm, then three without."""
    n = Net(opset=17)
    x = n.conv(n.input("x", 3, 4, 4), 3, 4, bias=False)
    x = n.Relu(n.batch_norm(x, 4) if norm else x)
    model = n.done(n.head(n.Relu(n.conv(x, 4, 3, bias=False)), 3))
    for node in model.graph.node:
        for tensor in model.graph.initializer:
            if node.op_type == "BatchNormalization" and tensor.name == node.input[1]:
                tensor.CopyFrom(numpy_helper.from_array(GAMMA, tensor.name))
    return analyse(read(model), strict=True)


def by_width(coupling, scores):
    return {group.size: scores[group.cells].ravel() for group in coupling.groups}


def test_scores_are_the_sizes_of_scales():
    coupling = net()
    found = by_width(coupling, score(Context(coupling), "bn-scale", normalize="none"))
    np.testing.assert_array_equal(found[4], np.abs(GAMMA))
    norms = by_width(coupling, score(Context(coupling), "l1", normalize="none"))[3]
    np.testing.assert_allclose(found[3], np.abs(GAMMA).mean() * norms / norms.mean(), rtol=1e-9)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_what_is_no_scale_is_no_member(how):
    coupling = net()
    context = Context(coupling, aggregate=how)
    found = by_width(coupling, score(context, "bn-scale", normalize="none"))
    np.testing.assert_array_equal(found[4], np.abs(GAMMA))


def test_a_model_without_norms_is_told_apart():
    with pytest.raises(ReadError, match=r"no channel of this model has one.*without folding"):
        score(Context(net(norm=False)), "bn-scale")
