"""What `read` accepts, what it makes of it, and that it changes nothing of the caller's."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from spa.errors import ReadError, first_line
from spa.graph import read
from tests.carried import DIGITS
from tests.graph.small import check_against_engine, linear, model, ops


def test_every_kind_of_source_gives_the_same_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = linear()
    data = proto.SerializeToString(deterministic=True)
    path = tmp_path / "linear.onnx"
    path.write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    sources = (path, str(path), data, bytearray(data), proto, io.BytesIO(data), "-")
    for source in sources:
        graph = read(source)
        assert graph.inputs == ("x",) and graph.outputs == ("y",)
        assert graph.shapes == {"x": (2, 3), "w": (3, 4), "b": (4,), "h": (2, 4), "y": (2, 4)}
        assert graph.source.sha256 == hashlib.sha256(data).hexdigest()
        assert graph.source.bytes == len(data)
        assert graph.source.path == (path if source in (path, str(path)) else None)


def test_a_pipe_is_a_path_too(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(linear().SerializeToString())
    code = "import spa.graph as g, sys; print(g.read(sys.argv[1]).outputs)"
    command = f"{sys.executable} -c '{code}' <(cat {tmp_path / 'm.onnx'})"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "('y',)", done.stderr


def test_the_callers_model_is_left_alone() -> None:
    proto = model(
        "g (float[N,4] x) => (float[N,4] y) { s = Shape(x)  c = Constant<value_float=2.0>()"
        " r = Reshape(x, s)  y = Mul(r, c) }"
    )
    proto.graph.node[0].name = proto.graph.node[1].name = "twice"
    before = proto.SerializeToString(deterministic=True)
    graph = read(proto)
    assert proto.SerializeToString(deterministic=True) == before
    assert "Constant" not in ops(graph)


def test_the_graph_is_frozen() -> None:
    graph = read(linear())
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.inputs = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        graph.shapes["x"] = (1,)  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        graph.consts["w"][0] = 0


def test_constants_are_decoded_lazily_and_cached() -> None:
    graph = read(linear())
    assert graph.consts["w"] is graph.consts["w"]
    assert list(graph.consts) == ["w", "b"] and len(graph.consts) == 2
    assert "nothing" not in graph.consts and graph.consts.get("nothing") is None
    np.testing.assert_array_equal(graph.consts["w"], np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("version", [7, 9, 11, 13, 17, onnx.defs.onnx_opset_version()])
def test_opsets(version: int) -> None:
    graph = read(linear(opset=version))
    assert graph.source.opset == version
    assert {node.version for node in graph.nodes} == {version}


def test_older_opsets_are_converted() -> None:
    proto = model(
        "g (float[2,3] x) => (float[2,4] y)"
        " { h = MatMul(x, w)  y = Add<axis=1, broadcast=1>(h, b) }",
        {"w": np.ones((3, 4), np.float32), "b": np.ones(4, np.float32)},
        opset=6,
    )
    graph = read(proto)
    assert graph.source.opset == 7
    assert graph.shapes["y"] == (2, 4)
    assert "axis" not in graph.nodes[1].attrs


def test_an_opset_from_the_future_is_refused() -> None:
    with pytest.raises(ReadError, match=r"opset 99, newer than .* upgrade onnx"):
        read(linear(opset=99))


def test_initializers_among_the_inputs_are_constants() -> None:
    proto = linear()
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    graph = read(proto)
    assert graph.inputs == ("x",)
    assert [info.name for info in graph.proto.graph.input] == ["x"]
    assert graph.proto.ir_version >= 4


FUNCTION = """
<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[N,3] x) => (float[N,3] y) { y = local.twice <k=3.0> (x) }
<domain: "local", opset_import: ["": 17, "local": 1]>
twice <k> (a) => (c) { b = local.plus (a)  f = Constant<value_float: float = @k>()  c = Mul(b, f) }
<domain: "local", opset_import: ["": 17]>
plus (a) => (b) { b = Add(a, a) }
"""


def test_local_functions_are_inlined() -> None:
    proto = onnx.parser.parse_model(FUNCTION)
    graph = check_against_engine(proto)
    assert ops(graph) == ["Add", "Mul"]
    assert not graph.proto.functions
    assert graph.outputs == ("y",)


def test_nodes_are_sorted_and_free_ones_keep_their_order() -> None:
    proto = model("g (float[2] x) => (float[2] y) { a = Relu(x)  b = Neg(x)  y = Add(a, b) }")
    nodes = [proto.graph.node[i] for i in (2, 1, 0)]
    shuffled = onnx.ModelProto()
    shuffled.CopyFrom(proto)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    assert ops(read(shuffled)) == ["Neg", "Relu", "Add"]
    assert [node.index for node in read(shuffled).nodes] == [0, 1, 2]


def test_nodes_get_unique_names_but_the_model_keeps_its_own() -> None:
    proto = model("g (float[2] x) => (float[2] y) { a = Relu(x)  b = Relu(a)  y = Relu(b) }")
    proto.graph.node[0].name = proto.graph.node[1].name = "act"
    graph = read(proto)
    assert [node.name for node in graph.nodes] == ["act", "act#2", "Relu:y"]
    assert [node.name for node in graph.proto.graph.node] == ["act", "act", ""]


def test_attributes_are_python_values() -> None:
    proto = model(
        "g (float[1,3,8,8] x) => (y)"
        ' { y = AveragePool<kernel_shape=[2,2], auto_pad="SAME_UPPER", ceil_mode=1>(x) }'
    )
    attrs = read(proto).nodes[0].attrs
    assert attrs == {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "ceil_mode": 1}


def test_captured_tensors_of_subgraphs() -> None:
    proto = model(
        "g (bool c, float[2] x, float[2] z) => (float[2] y) { k = Relu(z)"
        " y = If(c)<then_branch = t () => (float[2] a) { a = Add(x, k) },"
        " else_branch = e () => (float[2] b) { q = Neg(x)  b = Mul(q, q) }> }"
    )
    node = read(proto).nodes[-1]
    assert node.captured == ("x", "k")
    assert isinstance(node.attrs["then_branch"], onnx.GraphProto)


def test_a_captured_tensor_orders_its_reader() -> None:
    proto = model(
        "g (bool c, float[2] x) => (float[2] y) { k = Relu(x)"
        " y = If(c)<then_branch = t () => (float[2] a) { a = Add(x, k) },"
        " else_branch = e () => (float[2] b) { b = Neg(k) }> }"
    )
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert ops(read(proto)) == ["Relu", "If"]


def test_types_beyond_float() -> None:
    proto = model(
        "g (bfloat16[2] x, seq(float[2]) s, string[2] t)"
        " => (bfloat16[2] y, seq(float[2]) q, string[2] u)"
        " { y = Add(x, w)  q = Identity(s)  u = Identity(t) }",
        opset=18,
    )
    weight = np.ones(2, ml_dtypes.bfloat16)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    graph = read(proto)
    assert graph.dtypes["y"] == ml_dtypes.bfloat16 == graph.consts["w"].dtype
    assert graph.dtypes["s"] == graph.dtypes["u"] == np.dtype(object)
    assert "s" not in graph.shapes and graph.shapes["u"] == (2,)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_packed_constants(kind: int) -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]])
    proto = model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", opset=21)
    proto.graph.initializer.append(helper.make_tensor("w", kind, [2, 3], values.ravel()))
    assert read(proto).consts["w"].astype(int).tolist() == values.tolist()


def test_sparse_initializers_are_no_constants_but_have_a_shape() -> None:
    proto = model("g (float[4] x) => (float[4] y) { y = Mul(x, w) }")
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    index = numpy_helper.from_array(np.array([2]), "w_index")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, index, [4]))
    graph = read(proto)
    assert "w" not in graph.consts and graph.shapes["w"] == (4,) == graph.shapes["y"]


def test_the_package_does_not_import_onnx() -> None:
    code = "import sys, spa.graph; sys.exit(any(m in sys.modules for m in ('onnx', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("version", [0, -1, -(1 << 63)])
def test_an_opset_that_does_not_exist(version: int) -> None:
    proto = linear()
    proto.opset_import[0].version = version
    with pytest.raises(ReadError, match=f"uses opset {version}, which does not exist"):
        read(proto)


@pytest.mark.parametrize(
    "said, heard",
    [
        ("/project/onnx/convert.h:96: assert_: Assertion `a < b` failed: Wrong: no", "Wrong: no"),
        ("/a/b.cc:12: what: no\nmore", "no"),
        (
            "run: /a/b.h:91 ns::B::B(const ns::S&, bool) a == b was false. no",
            "run: a == b was false. no",
        ),
        ("run: /a/b.h:9 void ns::B::Init(ptrdiff_t, ptrdiff_t) no", "run: no"),
        ("at 12:30: no", "at 12:30: no"),
        ("", "ValueError"),
        ("/a/b.cc:12: ", "ValueError"),
        ("FAIL : [with T = onnxruntime::OpKernelInfo] perm is wrong", "FAIL : perm is wrong"),
    ],
)
def test_places_in_the_source_of_libraries_are_left_out(said: str, heard: str) -> None:
    assert first_line(ValueError(said)) == heard


@pytest.mark.parametrize("kind", ["FLOAT", "INTS", "GRAPH", "TYPE_PROTO", "UNDEFINED"])
def test_an_attribute_of_another_type(kind: str) -> None:
    proto = model("g (float[3] x) => (double[3] y) { y = Cast <to = 11> (x) }")
    proto.graph.node[0].attribute[0].type = AttributeProto.AttributeType.Value(kind)
    with pytest.raises(ReadError, match=f"attribute 'to' as {kind} where the operator takes INT"):
        read(proto)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_a_model_from_memory_is_remembered_as_it_came(kind):
    contents = DIGITS.read_bytes()
    _, found = read(kind(contents)).source.original()
    assert found == contents
