"""Shapes and sizes: every one that spa claims is what onnxruntime computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from spa.errors import ReadError
from spa.graph import read
from tests.graph.small import check_against_engine, linear, model, ops

CONV = np.ones((8, 3, 3, 3), np.float32)


def test_symbols_become_sizes_that_can_be_told_apart() -> None:
    graph = read(
        model(
            "g (float[batch,3,height,width] x, int64[batch,length] t)"
            " => (float[batch,8,h,w] y, int64[batch,length] u)"
            " { y = Conv<pads=[1,1,1,1]>(x, w)  u = Identity(t) }",
            {"w": CONV},
        )
    )
    assert graph.dims == {"batch": 2, "height": 64, "width": 96, "length": 7}
    assert graph.dynamic["x"] == ("batch", None, "height", "width")
    assert graph.shapes["y"] == (2, 8, 64, 96)


def test_nameless_axes_get_names_of_their_own() -> None:
    proto = model("g (float[N,3,?,?] x) => (y) { y = Conv(x, w) }", {"w": CONV})
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[2].dim_param, dims[3].dim_param = "-1", "?", ""
    graph = read(proto)
    assert graph.dynamic["x"] == ("x_0", None, "x_2", "x_3")
    assert graph.shapes["y"] == (2, 8, 62, 94)


@pytest.mark.parametrize(
    ("text", "dims"),
    [
        # one batch was baked in
        ("float[N,4] x) => (y) { s = Constant<value_ints=[1,4]>() y = Reshape(x, s)", {"N": 1}),
        # two symbols that must be the same
        ("float[N,a] x, float[N,b] z) => (y) { y = Add(x, z)", {"N": 2, "a": 7, "b": 7}),
        # a batch whose axis nobody named
        (
            "float[n,7,4] x, float[1,?,8] s) => (y) { t = Transpose<perm=[1,0,2]>(x)"
            " y, h, c = LSTM<hidden_size=8>(t, w, r, , , s, s)",
            {"n": 2, "s_1": 2},
        ),
        # a window that needs a long signal
        ("float[N,1,T] x) => (y) { y = Conv(x, k)", {"N": 2, "T": 512}),
        # a patch size that only some images fit
        (
            "float[N,3,H,W] x) => (y) { s = Constant<value_ints=[-1,3,7,32,7,32]>()"
            " y = Reshape(x, s)",
            {"N": 2, "H": 224, "W": 224},
        ),
    ],
)
def test_sizes_are_chosen_so_that_the_graph_agrees(text: str, dims: dict[str, int]) -> None:
    constants = {
        "w": np.ones((1, 32, 4), np.float32),
        "r": np.ones((1, 32, 8), np.float32),
        "k": np.ones((2, 1, 400), np.float32),
    }
    graph = read(model(f"g ({text} }}", constants))
    assert graph.dims == dims
    assert "y" in graph.shapes


def test_a_contradiction_leaves_shapes_out_and_raises_nothing() -> None:
    graph = read(model("g (float[2,3] x, float[2,4] z) => (y) { y = Add(x, z)  }"))
    assert "y" not in graph.shapes


def test_shapes_given_by_the_user() -> None:
    graph = read(linear(), input_shapes={"x": (5, 3)})
    assert graph.dims == {"N": 5} and graph.shapes["y"] == (5, 4)
    unranked = linear()
    unranked.graph.input[0].type.tensor_type.ClearField("shape")
    assert "y" not in read(unranked).shapes
    assert read(unranked, input_shapes={"x": (5, 3)}).shapes["y"] == (5, 4)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 3)}, "no input 'z'.*inputs are 'x'"),
        ({"x": (1, 3, 1)}, "has 2 axes, not 3"),
        ({"x": (1, 4)}, "fixed to 3 and cannot be 4"),
        ({"x": (0, 3)}, "cannot have a size of 0"),
    ],
)
def test_shapes_that_cannot_be(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ReadError, match=message):
        read(linear(), input_shapes=shapes)


def test_only_tensors_have_shapes() -> None:
    proto = model("g (seq(float[2]) s) => (y) { y = SequenceLength(s) }")
    with pytest.raises(ReadError, match="input 's' is no tensor"):
        read(proto, input_shapes={"s": (2,)})


def test_one_symbol_cannot_have_two_sizes() -> None:
    proto = model("g (float[N] x, float[N] z) => (y) { y = Add(x, z) }")
    with pytest.raises(ReadError, match="make 'N' both 1 and 2"):
        read(proto, input_shapes={"x": (1,), "z": (2,)})


def test_shape_arithmetic_is_followed() -> None:
    graph = check_against_engine(
        model(
            "g (float[N,T,12] x) => (y) { s = Shape(x)  n = Gather(s, zero)  t = Gather(s, one)"
            " m = Mul(n, t)  u = Unsqueeze(m, first)  target = Concat<axis=0>(u, rest)"
            " r = Reshape(x, target)  big = Range(zero, t, one)  c = Cast<to=1>(big)"
            " f = Div(c, three)  e = Floor(f)  k = ReduceSum(e)  y = Mul(r, k) }",
            {
                "zero": np.int64(0),
                "one": np.int64(1),
                "first": np.array([0]),
                "rest": np.array([3, 4]),
                "three": np.float32(3),
            },
        )
    )
    assert graph.values["target"].tolist() == [14, 3, 4]
    assert graph.shapes["y"] == (14, 3, 4)
    assert "y" not in graph.values


def test_control_flow() -> None:
    graph = check_against_engine(
        model(
            """g (bool c, float[N,4] x, float[T,2,3] q, float[2,3] h0) => (y, last, all, seen) {
              y = If(c) <
                then_branch = t () => (float[a,b] p) { p = Relu(x) },
                else_branch = e () => (float[c,d] n) { n = Neg(x) }>
              last, all = Loop(five, , h0) <body = l (int64 i, bool k, float[2,3] h)
                => (bool k2, float[2,3] h2, float[2,3] out)
                { k2 = Identity(k) h2 = Add(h, h) out = Relu(h2) }>
              end, seen = Scan(h0, q) <num_scan_inputs = 1, body = s (float[2,3] a, float[2,3] b)
                => (float[2,3] a2, float[2] o) { a2 = Add(a, b) o = ReduceSum<keepdims=0>(a2, ax) }>
            }""",
            {"five": np.int64(5), "ax": np.array([1])},
        )
    )
    shapes = {name: graph.shapes[name] for name in ("y", "last", "all", "end", "seen", "p")}
    assert shapes == {
        "y": (2, 4),
        "last": (2, 3),
        "all": (5, 2, 3),
        "end": (2, 3),
        "seen": (3, 2),
        "p": (2, 4),
    }


def test_a_state_that_grows_has_no_shape() -> None:
    graph = read(
        model(
            """g (float[2,3] h0, float[4] k0) => (h, k) {
              h, k = Loop(five, , h0, k0) <body = l (int64 i, bool c, float[a,b] s, float[d] t)
                => (bool c2, float[e,f] s2, float[m] t2)
                { c2 = Identity(c) s2 = Concat<axis=0>(s, s) u = Relu(s2) t2 = Neg(t) }> }""",
            {"five": np.int64(5)},
        )
    )
    assert "h" not in graph.shapes and "u" not in graph.shapes and "s" not in graph.shapes
    assert graph.shapes["k"] == (4,) == graph.shapes["t2"]


def test_branches_that_disagree_leave_the_shape_open() -> None:
    proto = model(
        "g (bool c, float[N,4] x) => (y) { y = If(c)"
        "<then_branch = t () => (p) { p = ReduceSum<keepdims=0>(x, one) },"
        " else_branch = e () => (n) { n = ReduceSum<keepdims=1>(x, one) }> }",
        {"one": np.array([1])},
    )
    graph = read(proto)
    assert "y" not in graph.shapes
    assert (graph.shapes["p"], graph.shapes["n"]) == ((2,), (2, 1))


def test_ops_beyond_the_standard_are_left_to_the_engine() -> None:
    graph = check_against_engine(
        model(
            "g (float[N,T,4] x) => (y) { n, , , = com.microsoft.SkipLayerNormalization(x, x, a, b)"
            " y = com.microsoft.Gelu(n) }",
            {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)},
        )
    )
    assert graph.shapes["y"] == (2, 7, 4)


def test_ops_that_nobody_knows_are_simply_unknown() -> None:
    graph = read(
        model("g (float[N,4] x) => (float[N,4] y) { h = local.Unheard(x)  y = Mul(h, x) }")
    )
    assert "h" not in graph.shapes and ops(graph) == ["Unheard", "Mul"]


def test_what_the_file_declares_fills_gaps() -> None:
    proto = model("g (float[2,4] x) => (y) { h = local.Unheard(x)  y = Relu(h) }")
    info = onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [2, 9])
    proto.graph.value_info.append(info)
    assert read(proto).shapes["y"] == (2, 9)


def test_what_the_file_declares_is_not_believed_against_inference() -> None:
    proto = model("g (float[N,4] x) => (y) { h = Relu(x)  y = Neg(h) }")
    info = onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 9])
    proto.graph.value_info.append(info)
    assert read(proto).shapes["h"] == (2, 4)


LIES = [
    ([2, 9, 3], onnx.TensorProto.INT64, "a rank"),
    ([3, 8], onnx.TensorProto.INT64, "a size"),
    ([2, 8], onnx.TensorProto.FLOAT, "an element type"),
]


@pytest.mark.parametrize(("shape", "kind", "what"), LIES, ids=[what for *_, what in LIES])
def test_what_the_file_declares_is_not_believed_against_half_of_a_shape(shape, kind, what) -> None:
    proto = model("g (float[4,4] x) => (y) { v = NonZero(x)  y = Abs(v) }")
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("v", kind, shape))
    assert "v" not in read(proto).shapes
    right = onnx.helper.make_tensor_value_info("v", onnx.TensorProto.INT64, [2, 3])
    proto.graph.value_info[0].CopyFrom(right)
    assert read(proto).shapes["v"] == (2, 3)


SIZED = [
    "r = Slice(x, k, n)",
    "r = Slice(x, k, n, n)",
    "r = Expand(x, s)",
    "r = Tile(x, s)",
    "r = Pad(x, p)",
    "r = Reshape(x, s)",
    "r, i = TopK(x, k)",
    "r = Resize(x, , scales)",
]


@pytest.mark.parametrize("line", SIZED)
def test_sizes_that_data_state_are_not_those_that_zeros_give(line) -> None:
    proto = model(
        f"""g (float[2,1,3] x, int64[1] k, int64[1] n, int64[3] s, int64[6] p, float[3] scales)
        => (y) {{ {line}  y = Relu(r) }}"""
    )
    assert "r" not in read(proto).shapes


def test_sizes_that_an_engine_knows_are_taken() -> None:
    text = "g (float[2,3,4] x, int64[1] k) => (y) { y = com.microsoft.Gelu(x) }"
    assert read(model(text)).shapes["y"] == (2, 3, 4)


def test_shapes_that_depend_on_data_are_unknown() -> None:
    graph = read(model("g (float[4] x) => (y) { n = NonZero(x)  y = Cast<to=1>(n) }"))
    assert "n" not in graph.shapes and "y" not in graph.shapes
