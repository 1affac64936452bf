"""Damaged and hostile input ends in one sentence that says what, where and what next."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from spa.errors import ReadError
from spa.graph import read
from tests.graph.small import linear, model

Damage = Callable[[ModelProto], object]


def refusal(source: object) -> str:
    """What `read` says when it refuses `source`; one line, whatever the file says."""
    with pytest.raises(ReadError) as caught:
        read(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "an error says what to do next"
    return message


CONTENTS = [
    (b"", "is empty"),
    (b"\x00", "not an ONNX model or is cut short"),
    (b"hello, I am no model", "not an ONNX model or is cut short"),
    (bytes(1000), "not an ONNX model or is cut short"),
    (b"PK\x03\x04....", "a zip archive"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"<!DOCTYPE html>", "an XML or HTML page"),
    (b'{"irVersion": 8}', "a JSON text"),
    (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    (b"\x08\x00\x00\x00ORTM", "ORT format"),
    (ModelProto().SerializeToString() or b"\x08\x08", "holds no graph"),
]


@pytest.mark.parametrize(("contents", "message"), CONTENTS)
def test_what_is_no_model(contents: bytes, message: str, tmp_path: Path) -> None:
    assert message in refusal(contents)
    path = tmp_path / "file.onnx"
    path.write_bytes(contents)
    assert message in refusal(path) and "file.onnx" in refusal(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "missing.onnx")
    assert "is a folder" in refusal(tmp_path)
    assert "pass a path" in refusal(3)
    with (tmp_path / "text").open("w+") as file:
        assert "binary mode" in refusal(file)


def test_every_truncation_is_noticed() -> None:
    proto = linear()
    proto.graph.ClearField("value_info")
    data = proto.SerializeToString()
    for length in range(0, len(data) - 1):
        try:
            graph = read(data[:length])
        except ReadError as error:
            assert "\n" not in str(error)
        else:  # cut between two fields behind everything that matters
            assert graph.outputs == ("y",)


def add_node(proto: ModelProto, op: str, reads: list[str], makes: list[str], **attrs: int) -> None:
    proto.graph.node.append(helper.make_node(op, reads, makes, name=f"a {op}", **attrs))


def rename(field: str, index: int, name: str) -> Damage:
    return lambda p: setattr(getattr(p.graph, field)[index], "name", name)


def dims(*sizes: int) -> Damage:
    def damage(proto: ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = sizes

    return damage


DAMAGE: list[tuple[str, Damage]] = [
    (r"output 'z' of the model is made by no node", rename("output", 0, "z")),
    (r"reads tensor 'w', which nothing defines", rename("initializer", 0, "v")),
    (r"reads tensor 'x', which nothing defines", rename("input", 0, "z")),
    (r"has no outputs", lambda p: p.graph.ClearField("output")),
    (r"holds no graph", lambda p: p.ClearField("graph")),
    (r"does not say which opset", lambda p: p.ClearField("opset_import")),
    (r"does not say which opset", lambda p: setattr(p.opset_import[0], "domain", "another")),
    (r"tensor 'h' .* defined twice", lambda p: add_node(p, "Neg", ["x"], ["h"])),
    (r"tensor 'w' .* defined twice", lambda p: p.graph.initializer.append(p.graph.initializer[0])),
    (r"tensor 'x' .* defined twice", lambda p: add_node(p, "Neg", ["w"], ["x"])),
    (r"cycle through MatMul", lambda p: p.graph.node[0].input.__setitem__(0, "y")),
    (r"Neg node 'a Neg' .* lacks input 0", lambda p: add_node(p, "Neg", [], ["q"])),
    (r"lacks output 0", lambda p: add_node(p, "Neg", ["x"], [])),
    (r"lacks attribute 'to'", lambda p: add_node(p, "Cast", ["x"], ["q"])),
    (r"has no operator", lambda p: add_node(p, "", ["x"], ["q"])),
    (r"initializer 'w' .* holds 48 bytes where its shape \[3, 5\] needs 60", dims(3, 5)),
    (r"impossible shape \[-3, 4\]", dims(-3, 4)),
    (r"impossible shape", dims(1 << 40, 1 << 40)),
    (r"unknown element type 0", lambda p: setattr(p.graph.initializer[0], "data_type", 0)),
    (r"unknown element type 77", lambda p: setattr(p.graph.initializer[0], "data_type", 77)),
    (
        r"axis of 1152921504606846976 elements",
        lambda p: setattr(p.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1 << 60),
    ),
]


@pytest.mark.parametrize(("message", "damage"), DAMAGE, ids=[message for message, _ in DAMAGE])
def test_damage(message: str, damage: Damage) -> None:
    proto = linear()
    damage(proto)
    with pytest.raises(ReadError, match=message):
        read(proto)
    refusal(proto)


def test_typed_data_is_counted_too() -> None:
    shorter = {TensorProto.FLOAT: [1.0], TensorProto.INT64: [1], TensorProto.INT4: []}
    for kind, short in shorter.items():
        proto = linear()
        tensor = helper.make_tensor("t", kind, [3], [1, 2, 3])
        field = helper.tensor_dtype_to_field(kind)
        del getattr(tensor, field)[:]
        getattr(tensor, field).extend(short)
        proto.graph.initializer.append(tensor)
        assert "'t'" in refusal(proto) and "[3]" in refusal(proto)


BRANCHES = """g (bool c, float[2] x) => (y) {
    a = If(c) <then_branch = t () => (float[2] o) { m = Neg(x)  o = Abs(m) },
               else_branch = e () => (float[2] o) { m = Abs(x)  o = Neg(m) }>
    y = READS(a)
}"""


def test_names_of_a_body_end_with_it() -> None:
    assert read(model(BRANCHES.replace("READS(a)", "Neg(a)"))).outputs == ("y",)
    with pytest.raises(ReadError, match="reads tensor 'm', which nothing defines"):
        read(model(BRANCHES.replace("READS(a)", "Add(a, m)")))


def test_names_that_a_body_shares_with_its_surroundings_outlive_it() -> None:
    text = """g (float[2] x) => (y) {
        go = Constant<value = bool {1}>()
        n = Constant<value = int64 {2}>()
        l = Loop(n, go, x) <body = b (int64 i, bool go, float[2] s) => (bool o, float[2] t) {
            o = Identity(go)  t = Neg(s) }>
        y = Loop(n, go, l) <body = d (int64 i, bool go, float[2] s) => (bool o, float[2] t) {
            o = Identity(go)  t = Abs(s) }>
    }"""
    assert read(model(text)).outputs == ("y",)


def test_damage_inside_subgraphs_is_found() -> None:
    proto = model(
        "g (bool c, float[2] x) => (y) { y = If(c)"
        "<then_branch = t () => (a) { a = Add(x, missing) },"
        " else_branch = e () => (b) { b = Neg(x) }> }"
    )
    assert "'missing', which nothing defines" in refusal(proto)


def test_names_with_line_breaks_do_not_break_the_sentence() -> None:
    proto = linear()
    proto.graph.node[0].input[0] = "a\nb\r\nc"
    assert "'a b c'" in refusal(proto)


def function(name: str, calls: list[str]) -> onnx.FunctionProto:
    """A local function that hands its input through others."""
    tensors = ["a", *[f"t{i}" for i in range(len(calls))]]
    nodes = [
        helper.make_node(op, [tensors[i]], [tensors[i + 1]], domain="local" if op != "Neg" else "")
        for i, op in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], [tensors[-1]], nodes, imports)


def test_functions_that_call_themselves() -> None:
    proto = model("g (float[2] x) => (y) { y = local.f(x) }")
    proto.functions.extend([function("f", ["g"]), function("g", ["f"])])
    assert "calls itself" in refusal(proto)


def test_functions_that_unfold_without_end() -> None:
    proto = model("g (float[2] x) => (y) { y = local.f0(x) }")
    proto.functions.extend(function(f"f{i}", [f"f{i + 1}"] * 10) for i in range(9))
    proto.functions.append(function("f9", ["Neg"]))
    assert "unfolds into more than" in refusal(proto)


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_never_ends_in_a_traceback(seed: int) -> None:
    rng = random.Random(seed)
    weight = np.ones((8, 3, 3, 3), np.float32)
    good = model(
        "g (float[N,3,H,W] x) => (y) { c = Conv<pads=[1,1,1,1]>(x, w)  s = Shape(c)"
        " n = Gather(s, zero)  u = Unsqueeze(n, axes)  t = Concat<axis=0>(u, rest)"
        " r = Reshape(c, t)  y = Softmax<axis=1>(r) }",
        {"w": weight, "zero": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])},
    ).SerializeToString()
    for _ in range(40):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read(bytes(data))
        except ReadError as error:
            assert "\n" not in str(error)


def test_functions_that_unfold_without_end_are_refused() -> None:
    """Each calls the one before twice: seventeen of them are 65536 nodes."""
    proto = linear()
    bodies = []
    for level in range(17):
        inner = "Neg" if level == 0 else f"f{level - 1}"
        domain = "" if level == 0 else "local"
        nodes = [
            helper.make_node(inner, ["a"], ["m"], domain=domain),
            helper.make_node(inner, ["m"], ["b"], domain=domain),
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        bodies.append(helper.make_function("local", f"f{level}", ["a"], ["b"], nodes, imports))
    proto.functions.extend(bodies)
    proto.graph.node.append(helper.make_node("f16", ["y"], ["z"], domain="local"))
    assert "unfolds into more than" in refusal(proto)


def test_functions_that_call_each_other_deeply_are_refused() -> None:
    proto = linear()
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for level in range(5000):
        inner = helper.make_node(f"f{level + 1}", ["a"], ["b"], domain="local")
        node = inner if level < 4999 else helper.make_node("Neg", ["a"], ["b"])
        body = helper.make_function("local", f"f{level}", ["a"], ["b"], [node], imports)
        proto.functions.append(body)
    proto.graph.node.append(helper.make_node("f0", ["y"], ["z"], domain="local"))
    assert "call each other more than" in refusal(proto)


def test_an_output_of_an_unknown_type_is_refused() -> None:
    proto = linear()
    proto.graph.output[0].type.tensor_type.elem_type = 99
    assert "unknown element type 99" in refusal(proto)
