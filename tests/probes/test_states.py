"""States come from the model itself; side inputs with a meaning are searched for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spa.graph import read
from spa.probes import probe_for
from spa.probes.probe import FRESH
from spa.probes.states import State, states_of
from tests.nets.bodies import choose
from tests.nets.net import Net
from tests.probes.test_choose import model, runs, weights

HEADS, WIDTH = 4, 8


def decoder(past: int | str = "past", branches: bool = False) -> onnx.ModelProto:
    """One layer of attention behind a table, with a cache of keys and one of values."""
    n = Net(batch="N")
    ids = n.input("ids", "seq", dtype=np.int64)
    keys, values = (n.input(name, HEADS, past, WIDTH) for name in ("kept_k", "kept_v"))
    flag = n.input("flag", dtype=np.bool_, batched=False) if branches else ""
    inner = HEADS * WIDTH
    table, wq, wk, wv, wo = (n.weight(50 if k == 0 else inner, inner, scale=0.3) for k in range(5))

    def heads(x: str, w: str) -> str:
        split = n.Reshape(n.MatMul(x, w), n.ints(0, 0, HEADS, WIDTH))
        return str(n.Transpose(split, perm=[0, 2, 1, 3]))

    def layer(cached: bool) -> list[str]:
        x = n.Gather(table, ids)
        k, v = heads(x, wk), heads(x, wv)
        if cached:
            k, v = n.Concat(keys, k, axis=2), n.Concat(values, v, axis=2)
        scores = n.Softmax(n.MatMul(heads(x, wq), n.Transpose(k, perm=[0, 1, 3, 2])))
        mixed = n.Transpose(n.MatMul(scores, v), perm=[0, 2, 1, 3])
        y = n.MatMul(n.Reshape(mixed, n.ints(0, 0, inner)), wo)
        return [y, n.Identity(k), n.Identity(v)]

    if not branches:
        return n.done(*layer(True))
    return n.done(*choose(n, flag, lambda: layer(True), lambda: layer(False), outs=3))


@pytest.mark.parametrize("past", ("past", 11))
@pytest.mark.parametrize("branches", (False, True))
def test_caches_hold_keys_and_values_of_other_rows(past, branches):
    proto = decoder(past, branches)
    for info, stem in zip(proto.graph.output, ("y", "new_k", "new_v"), strict=True):
        if stem != "y":  # as exporters declare it
            shape = ["N", HEADS, "total", WIDTH]
            info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, shape))
    graph = read(proto)
    probe = probe_for(graph)
    assert f"kept_k [N,4,{past},8]: what the model put there in earlier runs" in probe.why
    feeds = probe.feeds(6)
    keys = feeds["kept_k"]
    # Keys are a linear map of rows of the table: each of them is one of 50.
    w = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    names = [t.name for t in proto.graph.initializer if t.dims == [HEADS * WIDTH] * 2]
    table = next(v for v in w.values() if v.shape == (50, HEADS * WIDTH))
    made = [(table @ w[name]).reshape(50, HEADS, WIDTH) for name in names]
    flat = keys.transpose(0, 2, 1, 3).reshape(-1, HEADS, WIDTH)
    nearest = min(max(float(np.abs(m - key).max((1, 2)).min()) for key in flat[:20]) for m in made)
    assert nearest < 1e-4
    assert len(np.unique(flat.round(4), axis=0)) > 20 and not np.array_equal(keys[0], keys[1])
    fresh = probe.runs([FRESH, FRESH + 1], 2)
    assert not any(np.array_equal(f["kept_k"][0], keys[0]) for f in fresh)
    runs(graph, probe)


def test_rows_of_states_do_not_depend_on_the_batch():
    graph = read(decoder())
    probe, again = probe_for(graph), probe_for(graph)
    lengths, other = list(probe.batches(8, 1)), list(again.batches(8, 1))
    for mine, yours in zip(lengths, other, strict=True):
        assert all(np.array_equal(mine[name], yours[name]) for name in mine)


def test_a_buffer_of_a_stream_is_handed_on():
    """The last samples of what was heard, put before the new ones."""
    n = Net(batch="N")
    x, heard = n.input("x", 5, 16), n.input("heard", 8, 3)
    y = n.conv(x, 5, 8, dims=1)
    both = n.Concat(heard, y, axis=2)
    z = n.conv(both, 8, 4, dims=1)
    kept = n.Slice(both, n.ints(16), n.ints(19), n.ints(2))
    graph = read(n.done(z, kept))
    assert states_of(graph) == {"heard": State(kept, None)}
    probe = probe_for(graph)
    assert "heard [N,8,3]: what the model put there" in probe.why
    runs(graph, probe)


def test_pictures_and_features_are_no_states():
    """Computed with before, or nothing that comes back."""
    n = Net(batch="N")
    x, skip = n.input("x", 3, 16, 16), n.input("skip", 8, 16, 16)
    y = n.conv(x, 3, 8)
    z = n.conv(n.Concat(skip, y, axis=1), 16, 4)
    matte = n.Concat(x, z, axis=1)
    graph = read(n.done(z, matte))
    assert states_of(graph) == {}
    assert "x [N,3,16,16], NCHW" in probe_for(graph).why


def ranged(batched=False):
    """Weights positions by where they lie between the logarithms of two inputs."""
    shape = ("N",) if batched else ()
    nodes = [
        ("Log", "fmin", "low", {}), ("Log", "fmax", "high", {}), ("Sub", "high low", "span", {}),
        ("Sqrt", "span", "root", {}), ("MatMul", "x w", "h", {}), ("Sigmoid", "h", "s", {}),
        ("Mul", "s root", "m", {}), ("Add", "m low", "y", {}),
    ]  # fmt: skip
    inputs = {"x": ("f", ("N", 20)), "fmin": ("f", shape), "fmax": ("f", shape)}
    return model(nodes, inputs, {"w": weights(20, 6)}, "y")


def test_a_range_is_searched_for():
    graph = ranged()
    probe = probe_for(graph)
    feeds = probe.feeds(8)
    assert 0 < feeds["fmin"] < feeds["fmax"]
    assert f"fmin []: {float(feeds['fmin']):g}, found by trial" in probe.why
    assert not probe.notes
    runs(graph, probe)


def test_a_whole_number_may_be_what_is_wanted():
    """Of one sample per second nothing is left."""
    graph = model(
        [
            ("Cast", "rate", "r", {"to": TensorProto.FLOAT}), ("Sub", "r limit", "d", {}),
            ("Sqrt", "d", "root", {}), ("MatMul", "x w", "h", {}), ("Mul", "h root", "y", {}),
        ],
        {"x": ("f", ("N", 20)), "rate": ("i", ())},
        {"w": weights(20, 6), "limit": np.float32(700)},
        "y",
    )  # fmt: skip
    probe = probe_for(graph)
    assert int(probe.feeds(2)["rate"]) >= 700 and "found by trial" in probe.why


def test_what_cannot_be_found_is_said():
    graph = model(
        [
            ("Abs", "a", "above", {}), ("Neg", "above", "below", {}), ("Sub", "below one", "m", {}),
            ("Sqrt", "m", "root", {}), ("MatMul", "x w", "h", {}), ("Mul", "h root", "y", {}),
        ],
        {"x": ("f", ("N", 20)), "a": ("f", ())},
        {"w": weights(20, 6), "one": np.float32(1)},
        "y",
    )  # fmt: skip
    (first, *_) = probe_for(graph).notes
    assert first.startswith("no values of 'a' were found for which outputs are finite and vary")


def test_side_inputs_that_serve_are_left_alone():
    graph = model(
        [("MatMul", "x w", "h", {}), ("Mul", "h a", "y", {})],
        {"x": ("f", ("N", 20)), "a": ("f", ())},
        {"w": weights(20, 6)},
        "y",
    )
    assert "a []: normal numbers" in probe_for(graph).why


def test_a_batch_that_must_be_one_is_run_row_by_row():
    """Declared free, but the last product fits the numbers of one row alone."""
    graph = model(
        [("Relu", "x", "r", {}), ("Reshape", "r flat", "f", {}), ("MatMul", "f w", "y", {})],
        {"x": ("f", ("N", 5, 6))},
        {"w": weights(30, 4), "flat": np.array([1, -1])},
        "y",
    )
    probe = probe_for(graph)
    assert probe.rows == 1
    assert "rows are run one by one, as the model takes no more at once" in probe.notes
    assert [feeds["x"].shape for feeds in probe.batches(3)] == [(1, 5, 6)] * 3
    runs(graph, probe)
