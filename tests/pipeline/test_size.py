"""A file never grows: what the input computes, the output computes where that is smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import spa
from spa import runtime
from spa.graph import read
from spa.graph.forms import smallest
from spa.graph.makers import cheapest
from spa.rewrite import compact
from tests.graph.small import model

RNG = np.random.default_rng(0)
TABLE = "r = Range(zero, many, one)  c = Cast<to=1>(r)  e = Unsqueeze(c, axis)  f = Expand(e, wide)"
CONSTANTS: dict[str, Any] = {
    "zero": np.int64(0),
    "many": np.int64(400),
    "one": np.int64(1),
    "axis": np.array([1]),
    "wide": np.array([400, 4]),
}


def weight(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def net(inside: str, constants: dict[str, Any], out: str = "", inputs: str = "") -> ModelProto:
    """64 channels `h` of x, which `inside` makes `z` of, and further inputs and outputs."""
    text = f"g (float[N,8] x{inputs}) => (float[N,5] y{out})"
    text += f" {{ h = MatMul(x, w1) {inside} y = MatMul(z, w2) }}"
    return model(text, {"w1": weight(8, 64), "w2": weight(64, 5), **constants})


def pruned(
    proto: ModelProto, tmp_path: Path, ratio: float = 0.25
) -> tuple[ModelProto, dict[str, Any]]:
    """The file that a run writes, and its report; it is proved, and no larger than the input."""
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(proto, source)
    report = spa.prune(source, ratio, scorer="l2", round_to=1, output=target).report
    assert report["verify"]["passed"] and report["verify"]["proof"]["status"] == "complete"
    assert report["output"]["bytes"] == target.stat().st_size <= source.stat().st_size
    assert sum(report["ops"]["before"].values()) == len(proto.graph.node)
    file = onnx.load(target)
    assert sum(report["ops"]["after"].values()) == len(file.graph.node)
    return file, report


def stored(proto: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def ops(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def test_what_the_cut_leaves_alone_is_computed_as_in_the_input(tmp_path: Path) -> None:
    inside = f"{TABLE} s = Sin(f)  b = Tile(cell, many_of)  k = Mul(s, b)  t = MatMul(u, k)"
    more = {"cell": weight(1, 4), "many_of": np.array([400, 1])}
    proto = net(f"{inside} z = Relu(h)", CONSTANTS | more, ", float[N,4] t", ", float[N,400] u")
    file, _ = pruned(proto, tmp_path)
    assert {"Range", "Expand", "Sin", "Tile"} <= set(ops(file)) and "k" not in stored(file)
    want, got = read(proto).consts["k"], read(file).consts["k"]
    assert want.tobytes() == got.tobytes()


def test_what_two_tensors_are_made_of_is_there_once(tmp_path: Path) -> None:
    inside = f"{TABLE} s = Sin(f)  c2 = Cos(f)  t = MatMul(u, s)  v = MatMul(u, c2) z = Relu(h)"
    outputs = ", float[N,4] t, float[N,4] v"
    file, _ = pruned(net(inside, CONSTANTS, outputs, ", float[N,400] u"), tmp_path, 0.1)
    assert [ops(file).count(op) for op in ("Range", "Expand", "Sin", "Cos")] == [1] * 4


def test_what_one_tensor_reads_again_is_computed_once(tmp_path: Path) -> None:
    inside = f"{TABLE} t = MatMul(u, f)  v = MatMul(w, f)  z = Relu(h)"
    ports = ", float[N,400] u, float[N,400] w"
    file, _ = pruned(net(inside, CONSTANTS, ", float[N,4] t, float[N,4] v", ports), tmp_path, 0.1)
    assert ops(file).count("Expand") == 1 and "f" not in stored(file)


def test_what_was_cut_is_stored_as_it_is(tmp_path: Path) -> None:
    file, _ = pruned(net("k = Mul(w3, two)  z = MatMul(h, k)", {
        "w3": weight(64, 64), "two": np.float32(2)}), tmp_path)  # fmt: skip
    kept = len(stored(file)["w1"][0])
    assert kept < 64 and stored(file)["k"].shape[0] == kept and "Mul" not in ops(file)


def test_a_filling_that_was_cut_is_a_smaller_filling(tmp_path: Path) -> None:
    proto = net(
        "k = ConstantOfShape<value=float[1]{0.5}>(size)  z = MatMul(h, k)",
        {"size": np.array([64, 64])},
    )
    file, _ = pruned(proto, tmp_path)
    kept = len(stored(file)["w1"][0])
    assert kept < 64 and "k" not in stored(file)
    found = read(file).consts["k"]
    assert found.shape[0] == kept and (found == np.float32(0.5)).all()


def test_one_form_that_an_engine_makes_differently_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = net(
        "k = ConstantOfShape<value=float[1]{0.5}>(size)  m = ConstantOfShape"
        "<value=float[1]{0.25}>(size)  i = MatMul(h, k)  j = MatMul(h, m)  z = Add(i, j)",
        {"size": np.array([64, 64])},
    )
    own = compact.same
    monkeypatch.setattr(compact, "same", lambda a, b: b.flat[0] != 0.25 and own(a, b))
    spa.prune(proto, 0.25, scorer="l2", round_to=1, output=tmp_path / "out.onnx")
    file = onnx.load(tmp_path / "out.onnx")
    assert "k" not in stored(file) and len(stored(file)["m"]) < 64


def test_a_file_that_its_plan_alone_would_make_larger_does_not_carry_it(tmp_path: Path) -> None:
    text = "g (float[N,4] x) => (float[N,2] y) { h = MatMul(x, w1) z = Relu(h) y = MatMul(z, w2) }"
    proto = model(text, {"w1": weight(4, 64), "w2": weight(64, 2)})
    file, report = pruned(proto, tmp_path)
    keys = {entry.key for entry in file.metadata_props}
    assert "spa.plan" not in keys and "spa.plan_sha256" in keys
    assert any("the plan" in note for note in report["notes"])


def test_a_file_that_grows_says_by_how_much(tmp_path: Path) -> None:
    text = "g (float[N,2] x) => (float[N,2] y) { h = MatMul(x, w1) y = MatMul(h, w2) }"
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model(text, {"w1": weight(2, 4), "w2": weight(4, 2)}), source)
    report = spa.prune(source, 0.25, scorer="l2", round_to=1, output=target).report
    before, after = (f"{path.stat().st_size:,}" for path in (source, target))
    (told,) = [w for w in report["warnings"] if "larger" in w or "more than" in w]
    assert before in told and after in told and "say what was done" in told


def test_the_choice_is_the_cheapest_in_sum() -> None:
    nodes = [
        helper.make_node("Range", ["a", "b", "c"], ["r"]),
        helper.make_node("Sin", ["r"], ["s"]),
        helper.make_node("Cos", ["r"], ["t"]),
        helper.make_node("Neg", ["x"], ["u"]),
        helper.make_node("Abs", ["x"], ["v"]),
    ]
    costs = {"a": 10, "b": 10, "c": 10, "x": 1000}
    assert cheapest({"s": 60, "t": 60}, nodes, costs).results == {"s", "t"}
    assert not cheapest({"s": 60}, nodes, costs).results  # alone it does not pay for the Range
    assert not cheapest({"u": 500, "v": 500}, nodes, costs).results
    both = cheapest({"u": 600, "v": 600, "s": 20}, nodes, costs)
    assert both.results == {"u", "v"} and both.nodes == (3, 4) and both.tensors == {"x"}
    assert not cheapest({"u": 600}, nodes, {}).results  # nobody has what it reads


GRID = np.stack(np.meshgrid(*map(np.arange, (3, 40, 50)), indexing="ij"), -1)


@pytest.mark.parametrize(
    ("array", "op"),
    [
        (np.full((30, 40), 2.5, np.float32), "Expand"),
        (np.broadcast_to(weight(40, 1), (40, 50)), "Expand"),
        (GRID, "Add"),
        (np.arange(600).reshape(20, 30) ** 2 % 97, "Cast"),
        (weight(40, 50).astype(np.float16).astype(np.float32), "Cast"),
        (np.where(np.arange(600) == 7, -0.0, 0.0).astype(np.float32), "Cast"),
        (weight(40, 50), None),
    ],
)
def test_forms_make_the_very_bits_of_an_array(array: np.ndarray, op: str | None) -> None:
    found = smallest("k", array, 17, lambda wanted: wanted)
    if found is None:
        assert op is None
        return
    assert found.nodes[-1].op_type == op and found.bytes < array.nbytes
    output = helper.make_tensor_value_info("k", helper.np_dtype_to_tensor_dtype(array.dtype), None)
    graph = helper.make_graph(found.nodes, "g", [], [output], found.tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made = runtime.run(runtime.session(proto), {})["k"]
    assert made.dtype == array.dtype and made.tobytes() == np.ascontiguousarray(array).tobytes()
