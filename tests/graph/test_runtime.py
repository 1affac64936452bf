"""The engine behind the graph: sessions, random inputs, and what happens without it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from onnx import helper

from spa import devices, runtime
from spa.errors import ReadError
from spa.graph import read
from spa.probes import plain
from tests.graph.small import linear, model

BROKEN = model("g (float[2] x) => (y) { y = local.Unheard(x) }")


def test_sessions_take_models_bytes_and_paths(tmp_path: object) -> None:
    proto = linear()
    for source in (proto, proto.SerializeToString()):
        result = runtime.run(runtime.session(source), {"x": np.ones((1, 3), np.float32)})
        assert result["y"].tolist() == [[13, 16, 19, 22]]


def test_refusals_are_sentences_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ReadError, match="cannot load the model"):
        runtime.session(BROKEN)
    session = runtime.session(linear())
    with pytest.raises(ReadError, match="cannot run the model"):
        runtime.run(session, {"x": np.ones((1, 4), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_a_missing_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.library.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ReadError, match=r'pip install "onnx-spa\[cpu\]" or "onnx-spa\[gpu\]"'):
        runtime.session(linear())
    graph = read(
        model("g (float[N,3] x) => (y) { t = Neg(w)  y = Mul(x, t) }", {"w": np.ones(3, "f")})
    )
    assert graph.shapes["y"] == (2, 3) and list(graph.consts) == ["t"]
    monkeypatch.undo()
    devices.library.cache_clear()


def test_devices() -> None:
    assert devices.providers("cpu") == ["CPUExecutionProvider"]
    assert devices.providers("auto")[-1] == "CPUExecutionProvider"
    if "CUDAExecutionProvider" not in devices.library().get_available_providers():
        with pytest.raises(ReadError, match=r"onnx-spa\[gpu\]"):
            devices.providers("cuda")


def test_models_too_large_for_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.arange(4096, dtype=np.float32).reshape(64, 64)
    proto = model("g (float[N,64] x) => (y) { y = MatMul(x, w) }", {"w": weight})
    feeds = {"x": np.eye(64, dtype=np.float32)}
    monkeypatch.setattr(runtime, "IN_MEMORY", 1000)
    np.testing.assert_array_equal(runtime.run(runtime.session(proto), feeds)["y"], weight)


def test_inputs_fit_what_reads_them() -> None:
    graph = read(
        model(
            "g (int64[N,T] ids, int64[N,T] mask, int64[2,E] edges, int64 rate,"
            " uint8[N,8,8,3] image, bool[N] flag, float[N,5] x, int64[N] kind)"
            " => (a, b, c, d, e, f, h) { i = Cast<to=6>(ids)  a = Gather(table, i)"
            " b = Cast<to=1>(mask)"
            " s = Gather(edges, zero)  c = Gather(x, s)  d = Equal(rate, wanted)"
            " e = Cast<to=1>(image)  f = Not(flag)  h = OneHot(kind, depth, values) }",
            {
                "table": np.ones((11, 4), np.float32),
                "zero": np.int64(0),
                "wanted": np.int64(16000),
                "depth": np.int64(3),
                "values": np.array([0, 1], np.float32),
            },
        )
    )
    feeds = plain.feeds(graph)
    assert {name: value.shape for name, value in feeds.items()} == {
        name: graph.shapes[name] for name in graph.inputs
    }
    assert feeds["ids"].max() < 11 and len(set(feeds["ids"].ravel())) > 1
    assert (feeds["mask"] == 1).all() and feeds["rate"] == 16000
    assert feeds["edges"].max() < graph.shapes["x"][0] and feeds["kind"].max() < 3
    assert feeds["image"].max() > 100 and feeds["flag"].all()
    assert runtime.run(runtime.session(graph.proto), feeds)["a"].shape == (2, 7, 4)
    again, other = plain.feeds(graph), plain.feeds(graph, seed=1)
    assert all(np.array_equal(feeds[name], again[name]) for name in feeds)
    assert not np.array_equal(feeds["x"], other["x"])


def test_inputs_that_cannot_be_made_up() -> None:
    graph = read(model("g (seq(float[2]) s) => (y) { y = SequenceLength(s) }"))
    with pytest.raises(ReadError, match="input 's' has no tensor shape"):
        plain.feeds(graph)


def test_single_nodes() -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    types = {"x": helper.make_tensor_type_proto(1, [2, 5])}
    found = runtime.infer_node(node, {"": 17, "com.microsoft": 1}, types, {})
    assert found == {"y": helper.make_tensor_type_proto(1, [2, 5])}
    unheard = helper.make_node("Unheard", ["x"], ["y"], domain="local")
    assert runtime.infer_node(unheard, {"": 17, "local": 1}, types, {}) is None


def test_threads_never_spin_beside_what_comes_next() -> None:
    entry = "session.intra_op.allow_spinning"
    assert runtime.session(linear()).get_session_options().get_session_config_entry(entry) == "0"
    options = runtime.session(linear(), timed=True).get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    with pytest.raises(RuntimeError):  # it was left as it is by default
        options.get_session_config_entry(entry)
