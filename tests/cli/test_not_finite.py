"""Weights that are no numbers: one sentence, and nothing of numpy's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spa
from spa.errors import ReadError
from tests.nets import Net


def broken(value):
    """Two convolutions, the first with one weight that is `value`."""
    n = Net(opset=17)
    weight = n.random.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[2, 1, 0, 0] = value
    y = n.Relu(n.Conv(n.input("x", 3, 8, 8), n.const(weight)))
    return n.done(n.conv(y, 8, 4))


@pytest.mark.parametrize("scorer", ["l1", "l2"])
def test_weights_that_are_no_numbers_are_named(scorer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ReadError, match="hold numbers that are not finite"):
            spa.prune(broken(np.nan), ratio=0.3, scorer=scorer)


def test_the_same_from_the_shell(shell, tmp_path):
    import onnx

    onnx.save(broken(np.nan), tmp_path / "m.onnx")
    ran = shell("prune", tmp_path / "m.onnx", "-r", "0.3", "-s", "l1")
    assert ran.code == 3 and ran.err.startswith("spa: error: the weights") and len(ran.err) < 1000
    assert "Warning" not in ran.err and not list(tmp_path.glob("*.spa.onnx"))
