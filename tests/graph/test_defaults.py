"""Inputs with defaults: initializers that are listed as inputs as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import spa
from spa import runtime
from spa.errors import TargetError
from spa.graph import read
from tests.graph.small import model

RNG = np.random.default_rng(0)
WIDE = {"w": (16, 3, 3, 3), "b": (16,), "v": (6, 16, 1, 1), "c": (6,)}
CONVS = (
    "g (float[N,3,8,8] x) => (float[N,6,8,8] y)"
    "{ h = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(h)  y = Conv(r, v, c) }"
)
SCALED = (
    "g (float[N,8] x) => (float[N,4] y)"
    "{ h = MatMul(x, w)  s = Mul(h, gain)  r = Relu(s)  y = MatMul(r, v) }"
)


def listed(proto: ModelProto, *names: str, ir: int = 8) -> ModelProto:
    """The model with initializers as inputs as well."""
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            proto.graph.input.append(onnx.helper.make_value_info(tensor.name, kind))
    proto.ir_version = ir
    return proto


def made(text: str, shapes: dict[str, tuple[int, ...]]) -> ModelProto:
    """A model with random weights."""
    return model(text, {n: RNG.standard_normal(s).astype(np.float32) for n, s in shapes.items()})


def inputs(proto: ModelProto) -> list[str]:
    """The names of all inputs."""
    return [info.name for info in proto.graph.input]


def test_a_bias_that_a_caller_may_replace_stays_an_input() -> None:
    proto = listed(made(CONVS, WIDE), "c")
    small = spa.prune(proto, 0.3, scorer="l2", verify="none").model
    assert inputs(small) == ["x", "c"]
    assert len(small.graph.initializer) == 4 and small.graph.initializer[0].dims[0] < 16
    other = RNG.standard_normal(6).astype(np.float32)
    x = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    default = onnx.numpy_helper.to_array(proto.graph.initializer[3])
    loaded = runtime.session(small)
    plain, moved = loaded.run(None, {"x": x})[0], loaded.run(None, {"x": x, "c": other})[0]
    shift = (other - default).reshape(1, 6, 1, 1)
    np.testing.assert_allclose(moved, plain + shift, atol=1e-5)


def test_channels_along_an_input_with_a_default_are_frozen_and_say_so() -> None:
    """A caller's own value has as many numbers as the model declares."""
    proto = listed(made(SCALED, {"w": (8, 16), "gain": (16,), "v": (16, 4)}), "gain")
    with pytest.raises(TargetError) as caught:
        spa.prune(proto, 0.3, scorer="l2", verify="none")
    assert "an input of the model with a default" in str(caught.value)


def test_what_reads_an_input_with_a_default_is_not_folded() -> None:
    text = (
        "g (float[N,8] x) => (float[N,4] y)"
        "{ t = Neg(gain)  h = MatMul(x, w)  s = Mul(h, t)  r = Relu(s)  y = MatMul(r, v) }"
    )
    graph = read(listed(made(text, {"w": (8, 16), "gain": (1,), "v": (16, 4)}), "gain"))
    assert graph.options == ("gain",) and graph.inputs == ("x",)
    assert "gain" not in graph.consts and "t" not in graph.consts
    assert graph.nodes[0].op == "Neg"


def test_an_unused_input_keeps_its_default() -> None:
    text = (
        "g (float[N,8] x) => (float[N,8] y) <bool yes = {1}>"
        "{ y = If(yes)<then_branch = t () => (a) { a = Neg(x) },"
        " else_branch = e () => (b) { b = Mul(x, gain) }> }"
    )
    graph = read(listed(made(text, {"gain": (1,)}), "gain"))
    assert graph.nodes[0].op == "Neg"
    runtime.run(runtime.session(graph.proto), {"x": np.ones((2, 8), np.float32)})


@pytest.mark.parametrize("scorer", ["l2", "obspa"])
def test_the_cut_model_is_proved_and_refitted_around_it(scorer: str) -> None:
    proto = listed(made(CONVS, WIDE), "c")
    done = spa.prune(proto, 0.3, scorer=scorer)
    assert done.report["status"] == "ok" and inputs(done.model) == ["x", "c"]
    kept = {t.name: onnx.numpy_helper.to_array(t) for t in done.model.graph.initializer}
    default = onnx.numpy_helper.to_array(proto.graph.initializer[3])
    np.testing.assert_array_equal(kept["c"], default)
    assert [port[0] for port in done.report["input"]["inputs"]] == ["x", "c"]


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_that_an_exporter_lists_are_weights(ir: int) -> None:
    """Where all are listed nobody means to replace them."""
    done = spa.prune(listed(made(CONVS, WIDE), *WIDE, ir=ir), 0.3, scorer="l2")
    small = done.model
    assert inputs(small) == ["x"]
    said = any("4 weights that the file lists as inputs" in note for note in done.report["notes"])
    assert said == (ir >= 4), "before IR 4 there was no other way to write them"
    assert {t.name: t.dims[0] for t in small.graph.initializer}["w"] < 16


def test_a_lone_option_beside_weights_in_constant_nodes() -> None:
    proto = made(CONVS, WIDE)
    for tensor in list(proto.graph.initializer)[:3]:
        proto.graph.node.insert(
            0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        )
        proto.graph.initializer.remove(tensor)
    assert read(listed(proto, "c")).options == ("c",)


def test_a_default_of_open_length_is_analysed_as_long_as_it_is(tmp_path: Path) -> None:
    proto = listed(made(CONVS, WIDE), "c")
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "K"
    assert read(proto).shapes["c"] == (6,)
