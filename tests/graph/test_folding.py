"""Folding: what becomes a constant, what must not, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from spa import devices
from spa.errors import ReadError
from spa.graph import Graph, fold, read
from tests.graph.small import check_against_engine, linear, model, ops

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(params=["engine", "no engine"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without onnxruntime."""
    if request.param == "no engine":

        def missing() -> None:
            raise ReadError("onnxruntime is not installed")

        monkeypatch.setattr(devices, "library", missing)
    return str(request.param)


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("value_float=2.5", np.float32(2.5)),
        ("value_floats=[1.0,2.0]", np.array([1, 2], np.float32)),
        ("value_int=3", np.int64(3)),
        ("value_ints=[4,5]", np.array([4, 5])),
        ("value=float[2]{6.0,7.0}", np.array([6, 7], np.float32)),
    ],
)
def test_constant_nodes_become_initializers_of_the_same_name(constant: str, value: Any) -> None:
    graph = read(model(f"g (float[2] x) => (y) {{ c = Constant<{constant}>()  y = Foo(x, c) }}"))
    assert ops(graph) == ["Foo"] and graph.nodes[0].inputs == ("x", "c")
    assert graph.consts["c"].dtype == value.dtype
    np.testing.assert_array_equal(graph.consts["c"], value)


def test_chains_of_constants_are_folded(engine: str) -> None:
    graph = read(
        model(
            "g (float[N,4] x) => (y) { t = Transpose(w)  s = Mul(t, two)  h = MatMul(x, s)"
            " k = Exp(b)  y = Add(h, k) }",
            {"w": WEIGHT, "two": np.float32(2), "b": np.zeros(3, np.float32)},
        )
    )
    assert ops(graph) == ["MatMul", "Add"]
    assert list(graph.consts) == ["s", "k"]  # what only folded nodes read is gone
    np.testing.assert_array_equal(graph.consts["s"], 2 * WEIGHT.T)
    np.testing.assert_array_equal(graph.consts["k"], np.ones(3))


def test_shapes_that_cannot_change_are_constants(engine: str) -> None:
    graph = read(
        model(
            "g (float[2,3,4] x) => (y) { s = Shape(x)  n = Size(x)  e = Shape<start=1>(x)"
            " r = Reshape(x, s)  z = Expand(r, e)  c = Cast<to=1>(n)  y = Mul(z, c) }"
        )
    )
    assert ops(graph) == ["Reshape", "Expand", "Mul"]
    assert graph.consts["s"].tolist() == [2, 3, 4] and graph.consts["e"].tolist() == [3, 4]
    assert graph.consts["c"] == np.float32(24)


def test_known_axes_of_symbolic_shapes_are_constants(engine: str) -> None:
    graph = read(
        model(
            "g (float[N,T,12] x) => (y, u) { s = Shape(x)  w = Gather(s, last)"
            " h = Div(w, three)  v = Unsqueeze(h, zero)  t = Concat<axis=0>(open, v, minus)"
            " y = Reshape(x, t)  n = Gather(s, first)  u = Identity(n) }",
            {
                "last": np.int64(2),
                "first": np.int64(0),
                "three": np.int64(3),
                "zero": np.array([0]),
                "open": np.array([0, 0]),
                "minus": np.array([-1]),
            },
        )
    )
    assert sorted(ops(graph)) == ["Gather", "Identity", "Reshape", "Shape"]
    assert graph.consts["t"].tolist() == [0, 0, 4, -1]
    assert graph.values["n"] == 2


def test_a_shape_nobody_reads_any_more_goes() -> None:
    text = "g (float[N,5] x) => (y) { s = Shape(x)  k = Gather(s, one)  c = Cast<to=1>(k)"
    graph = read(model(text + " y = Mul(x, c) }", {"one": np.int64(1)}))
    assert ops(graph) == ["Mul"] and list(graph.consts) == ["c"]


@pytest.mark.parametrize(
    ("op", "kept"),
    [
        ("RandomNormal<shape=[3,4]>()", "RandomNormal"),
        ("RandomUniformLike(w)", "RandomUniformLike"),
        ("Bernoulli(w)", "Bernoulli"),
        ("QuantizeLinear(w, s, z)", "QuantizeLinear"),
        ("com.microsoft.Gelu(w)", "Gelu"),
        ("local.Unheard(w)", "Unheard"),
    ],
)
def test_what_is_never_folded(op: str, kept: str) -> None:
    scale = {"w": WEIGHT, "s": np.float32(0.1), "z": np.uint8(0)}
    graph = read(model(f"g (float[3,4] x) => (y) {{ c = {op}  f = Foo(c)  y = Add(x, f) }}", scale))
    assert ops(graph)[0] == kept


def test_quantized_weights_stay_as_they_are() -> None:
    proto = model(
        "g (float[N,3] x) => (y) { f = DequantizeLinear(q, s, z)  y = MatMul(x, f) }",
        {"q": WEIGHT.astype(np.int8), "s": np.float32(0.1), "z": np.int8(0)},
    )
    assert ops(check_against_engine(proto)) == ["DequantizeLinear", "MatMul"]


def test_training_dropout_stays() -> None:
    text = "g (float[4] x) => (y) { d = Dropout(c, r, t)  y = Add(x, d) }"
    constants = {"c": np.ones(4, np.float32), "r": np.float32(0.5), "t": np.bool_(True)}
    assert ops(read(model(text, constants))) == ["Dropout", "Add"]


def test_folding_does_not_blow_the_model_up() -> None:
    grown = "g (float[1,1024,1024] x) => (y) { m = Expand(one, s)  y = Add(x, m) }"
    constants = {"one": np.float32(1), "s": np.array([1, 1024, 1024])}
    assert ops(read(model(grown, constants))) == ["Expand", "Add"]
    small = constants | {"s": np.array([1, 1, 1024])}
    assert ops(read(model(grown, small))) == ["Add"]


def test_weights_are_seen_however_they_are_made() -> None:
    made = "g (float[N,1024] x) => (y) { m = Expand(one, s)  t = Transpose(m)  y = MatMul(x, t) }"
    constants = {"one": np.float32(1), "s": np.array([1024, 1024])}
    graph = read(model(made, constants))
    assert ops(graph) == ["MatMul"] and graph.consts["t"].shape == (1024, 1024)


def test_absurd_sizes_are_not_computed() -> None:
    text = "g (float[1] x) => (y) { m = ConstantOfShape(s)  r = Range(a, b, c)  y = Foo(m, r, x) }"
    constants = {"s": np.array([1 << 14, 1 << 14]), "a": np.int64(0), "b": np.int64(1 << 27)}
    found = ops(read(model(text, constants | {"c": np.int64(1)})))
    assert found == ["ConstantOfShape", "Range", "Foo"]
    constants["s"] = np.array([1 << 40, 1 << 20])
    with pytest.raises(ReadError, match="unfold into more than 2 GiB at ConstantOfShape"):
        read(model(text, constants | {"c": np.int64(1)}))


def test_constants_that_double_are_bounded_in_sum() -> None:
    """Each node makes twice what it reads, which a limit per node lets pass."""
    chain = "".join(f"k{i} = Concat<axis=0>(k{i - 1}, k{i - 1}) " for i in range(1, 40))
    text = f"g (float[1] x) => (y) {{ {chain} s = ReduceMax<keepdims=0>(k39) y = Add(x, s) }}"
    with pytest.raises(ReadError, match="unfold into more than 2 GiB at Concat"):
        read(model(text, {"k0": np.ones(1, np.float32)}))


def test_folding_stays_linear_where_an_engine_refuses_the_whole() -> None:
    """Diamonds of bfloat16, of which some nodes have no kernel."""
    nodes = "".join(
        f"p{i} = Neg(k{i}) q{i} = Abs(k{i}) k{i + 1} = Add(p{i}, q{i}) " for i in range(40)
    )
    text = f"g (bfloat16[4] x) => (y) {{ k0 = Cast<to=16>(c) {nodes} y = Add(x, k40) }}"
    graph = read(model(text, {"c": np.arange(4, dtype=np.float32)}))
    assert ops(graph) == ["Add"]
    assert (graph.consts["k40"].astype(np.float32) == 0).all()


def test_what_nobody_can_evaluate_is_found_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a chain of constants is what an engine and the reference refuse."""
    nodes = "".join(f"k{i + 1} = Neg(k{i}) " for i in range(60))
    text = f"g (float[3] x) => (y) {{ k0 = Reshape(c, s) {nodes} y = Add(x, k60) }}"
    looked = []
    real = fold.captured_names
    monkeypatch.setattr(fold, "captured_names", lambda node: looked.append(node) or real(node))
    graph = read(model(text, {"c": np.ones(8, np.float32), "s": np.array([3])}))
    assert len(ops(graph)) == 62
    assert len(looked) < 10 * 62


def test_ops_whose_work_sizes_do_not_bound_are_not_evaluated() -> None:
    text = (
        "g (float[1] x) => (y) { q = RegexFullMatch<pattern='(a*)*b'>(k) t = Cast<to=1>(q)"
        " y = Add(x, t) }"
    ).replace("'", '"')
    strings = np.array(["a" * 40], object)
    assert ops(read(model(text, {"k": strings}, opset=20))) == ["RegexFullMatch", "Cast", "Add"]


def test_windows_beyond_their_image_are_not_evaluated() -> None:
    text = (
        "g (float[1] x) => (y) { p = MaxPool<kernel_shape=[100000,100000],"
        " pads=[99999,99999,99999,99999], strides=[99999,99999]>(k)"
        " t = ReduceMax<keepdims=0>(p) y = Add(x, t) }"
    )
    kept = ops(read(model(text, {"k": np.ones((1, 1, 8, 8), np.float32)})))
    assert kept == ["MaxPool", "ReduceMax", "Add"]


def test_copies_of_a_constant_stay_shared() -> None:
    proto = model(
        "g (float[N,3] x, float[N,3] z) => (y) { v = Identity(w)  u = Identity(v)"
        " a = MatMul(x, u)  b = MatMul(z, w)  y = Add(a, b) }",
        {"w": WEIGHT},
    )
    graph = check_against_engine(proto)
    assert ops(graph) == ["MatMul", "MatMul", "Add"]
    assert [node.inputs[1] for node in graph.nodes[:2]] == ["w", "w"]


def test_what_nobody_folds_stays() -> None:
    proto = linear()
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2), "unused"))
    proto.graph.node.append(helper.make_node("Neg", ["x"], ["nobody"], name="dead"))
    proto.metadata_props.add(key="author", value="somebody")
    proto.doc_string = "kept"
    graph = read(proto)
    assert graph.proto.SerializeToString() == proto.SerializeToString()


def test_outputs_are_never_folded_away() -> None:
    proto = model(
        "g (float[2] x) => (y, c, s) { y = Neg(x)  c = Constant<value_int=1>()  s = Shape(x) }"
    )
    graph = check_against_engine(proto)
    assert sorted(ops(graph)) == ["Constant", "Neg", "Shape"]
    assert graph.outputs == ("y", "c", "s")


def test_folded_tensors_may_be_captured() -> None:
    proto = model(
        "g (bool c, float[2] x) => (y) { k = Neg(b)  y = If(c)"
        "<then_branch = t () => (float[2] p) { p = Add(x, k) },"
        " else_branch = e () => (float[2] n)"
        " { q = Constant<value=float[2]{1.0,2.0}>() n = Mul(x, q) }> }",
        {"b": np.ones(2, np.float32)},
    )
    graph = check_against_engine(proto)
    assert ops(graph) == ["If"] and graph.nodes[0].captured == ("x", "k", "q")
    assert graph.consts["q"].tolist() == [1, 2]  # no longer inside
    assert graph.consts["k"].tolist() == [-1, -1]


BRANCHES = (
    "<then_branch = t () => (p) {{ k = Constant<value_float={value}>() p = Mul(x, k) }},"
    " else_branch = e () => (n) {{ n = Neg(x) }}>"
)


def test_an_if_with_a_constant_condition_gives_way() -> None:
    proto = model(
        "g (float[N,4] x) => (y) { s = Shape(x)  r = Shape(s)  c = Equal(r, two)  h = If(c)"
        + BRANCHES.format(value=3.0)
        + " y = Relu(h) }",
        {"two": np.array([2])},
    )
    graph = check_against_engine(proto)
    assert ops(graph) == ["Mul", "Identity", "Relu"]
    assert graph.consts["k"] == 3 and graph.shapes["h"] == (2, 4)


def test_ifs_whose_names_clash_get_others() -> None:
    branches = BRANCHES.format(value=3.0)
    text = f"g (float[N,4] x) => (y) {{ a = If(c){branches}  b = If(c){branches}  y = Add(a, b) }}"
    graph = check_against_engine(model(text, {"c": np.bool_(True)}))
    assert ops(graph) == ["Mul", "Identity", "Mul", "Identity", "Add"]
    assert graph.consts["k"] == graph.consts["k_2"] == 3


def test_one_node_without_a_kernel_does_not_spoil_the_rest(
    capfd: pytest.CaptureFixture[str],
) -> None:
    half = np.full((3, 4), 2, ml_dtypes.bfloat16)
    text = (
        "g (float[N,4] x) => (y) { t = Transpose(w)  h = MatMul(x, t)  b = Sqrt(v)"
        " c = Cast<to=1>(b)  y = Foo(h, c) }"
    )
    graph = read(model(text, {"w": WEIGHT, "v": half * half}))
    assert ops(graph) == ["MatMul", "Foo"]
    np.testing.assert_array_equal(graph.consts["c"], np.full((3, 4), 2, np.float32))
    assert capfd.readouterr() == ("", "")


def names(graph: Graph) -> Mapping[str, list[str]]:
    return {"consts": sorted(graph.consts), "nodes": [node.name for node in graph.nodes]}


def test_folding_twice_changes_nothing() -> None:
    text = "g (float[N,4] x) => (y) { t = Transpose(w)  h = MatMul(x, t)  y = Relu(h) }"
    first = read(model(text, {"w": WEIGHT}))
    second = read(first.proto)
    assert first.proto.SerializeToString() == second.proto.SerializeToString()
    assert names(first) == names(second)


def test_reading_is_deterministic() -> None:
    def once() -> bytes:
        proto: ModelProto = read(
            model(
                "g (float[2,3,4] x) => (y) { a = Shape(x)  b = Size(x)  c = Neg(w)  d = Exp(w)"
                " y = Foo(a, b, c, d) }",
                {"w": WEIGHT},
            )
        ).proto
        return proto.SerializeToString(deterministic=True)

    assert once() == once()
