"""Models with operators that onnxruntime does not know are run, and proved, up to these."""

from __future__ import annotations

import pytest

import spa
from spa.coupling import analyse
from spa.errors import ReadError, VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.runs import before
from tests import oracles
from tests.nets import Net
from tests.nets.layers import convolved
from tests.validate.test_verify import changed, swapped, weights


def plugged(behind=False):
    """Two heads, one of which enters a plugin; perhaps with something behind that."""
    n = Net(batch="N")
    y = n.Relu(convolved(n, 3, 16, 16))
    boxes = n.node("Suppress", n.conv(y, 16, 4), domain="Plugins")
    return n.done(n.Relu(boxes) if behind else boxes, n.conv(y, 16, 2))


def pruned(model):
    coupling = analyse(read(model))
    alive = oracles.scattered(0.5, 1)(coupling)
    return coupling, alive, rewrite(coupling, alive)


@pytest.mark.parametrize("behind", [False, True])
def test_proved_up_to_a_plugin(behind):
    coupling, alive, small = pruned(plugged(behind))
    verdict = verify(coupling, alive, small)
    assert verdict.proof == "partial" and verdict.equivalence < 1e-5
    assert "only up to Suppress node" in verdict.limits[0] and len(verdict.limits) == 1
    assert len(verdict.sizes) == 3
    matrices = [name for name, array in weights(small).items() if array.ndim == 4]
    assert len(matrices) == 4
    for name in matrices:
        with pytest.raises(VerifyError, match="differs from the masked original"):
            verify(coupling, alive, changed(small, name, swapped))


def test_pruned_and_verified_like_any_other(tmp_path):
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx")]
    paths[0].write_bytes(plugged().SerializeToString())
    report = spa.prune(paths[0], 0.3, round_to=1, output=paths[1]).report
    assert report["reduction"]["macs"] > 0.25 and report["verify"]["proof"]["status"] == "partial"
    assert len(report["verify"]["drift"]) == 2 and report["latency"]["speedup"]
    assert spa.verify(*paths)["status"] == "ok"


def test_nothing_to_run_is_an_error():
    n = Net(batch="N")
    y = n.node("Suppress", n.input("x", 3, 8, 8), domain="Plugins")
    model = n.done(n.conv(n.Relu(n.conv(y, 3, 8)), 8, 2))
    assert before(model, model.graph.node[:1]) is None
    graph = read(model)
    coupling = analyse(graph)
    with pytest.raises(ReadError, match="Suppress"):
        verify(coupling, coupling.everything(), rewrite(coupling, coupling.everything()))


def test_a_model_that_is_wrong_elsewhere_is_still_refused():
    n = Net(batch="N")
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 16))
    model = n.done(n.node("Suppress", n.conv(y, 16, 4), domain="Plugins"))
    coupling = analyse(read(model))
    del coupling.graph.proto.graph.initializer[0]
    with pytest.raises(ReadError):
        verify(coupling, coupling.everything(), model)
