"""A net that synthetic pictures do not suit says so."""

from __future__ import annotations

import numpy as np
import pytest

import spa
from tests.nets import Net


def deep(norm):
    n = Net(opset=17, batch="N")
    y = n.Relu(n.conv(n.input("x", 3, 16, 16), 3, 8))
    y = n.conv(y, 8, 8, group=8)
    y = n.Relu(n.batch_norm(y, 8) if norm else y)
    return n.done(n.head(n.Relu(n.conv(y, 8, 8)), 8))


@pytest.mark.parametrize("norm", [False, True])
def test_depthwise_without_batch_norm_is_warned_about(norm):
    options = {"round_to": 1, "samples": 16, "verify": "none"}
    warned = spa.prune(deep(norm), 0.2, **options).report["warnings"]
    assert any("calib=" in w for w in warned) is not norm


def test_with_inputs_given_there_is_nothing_to_warn_about(tmp_path):
    path = tmp_path / "photos.npz"
    np.savez(path, np.random.default_rng(0).random((32, 3, 16, 16), np.float32))
    options = {"round_to": 1, "samples": 16, "verify": "none", "calib": str(path)}
    warned = spa.prune(deep(False), 0.2, **options).report["warnings"]
    assert not any("calib=" in w for w in warned)
