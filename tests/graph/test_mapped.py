"""Large weights are read where they lie in the file, and only as long as it is the same file."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spa.graph import read
from spa.graph.mapped import LEAST, spans

LARGE = (300, 1024)


def model(shift: float = 0.0) -> onnx.ModelProto:
    """x [1, 300] times a large matrix, plus a small vector."""
    weight = np.arange(np.prod(LARGE), dtype=np.float32).reshape(LARGE) + np.float32(shift)
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.ones(LARGE[1], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, LARGE[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, LARGE[1]])
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "model.onnx"
    onnx.save(model(), target)
    return target


def same(array: np.ndarray, proto: onnx.ModelProto) -> bool:
    return np.array_equal(array, numpy_helper.to_array(proto.graph.initializer[0]))


def test_spans_are_where_the_weights_are(path):
    data = path.read_bytes()
    proto = model()
    found = spans(memoryview(data), 1)
    assert found.keys() == {"weight", "bias"}
    for tensor in proto.graph.initializer:
        begin, end = found[tensor.name]
        assert data[begin:end] == tensor.raw_data
    assert spans(memoryview(data), LEAST).keys() == {"weight"}


@pytest.mark.parametrize("size", [1, 10, 1000, 100_000])
def test_what_is_cut_short_has_no_spans(path, size):
    assert spans(memoryview(path.read_bytes()[:-size]), 1) == {}


def test_other_bytes_do_no_harm():
    for seed in range(200):
        spans(memoryview(np.random.default_rng(seed).bytes(300)), 1)


@pytest.mark.skipif(os.name != "posix", reason="the file is not kept mapped")
def test_a_large_weight_is_not_copied(path):
    graph = read(path)
    array = graph.weight("weight")
    assert same(array, model()) and not array.flags.writeable
    plain = graph.consts["weight"]  # may be a copy, and is aligned
    assert plain.flags.aligned and same(plain, model())
    assert graph.weight("weight").ctypes.data == array.ctypes.data != plain.ctypes.data


def test_small_weights_and_models_in_memory():
    graph = read(model().SerializeToString())
    assert same(graph.weight("weight"), model())
    assert graph.weight("bias").shape == (LARGE[1],)


@pytest.mark.parametrize("how", ["written over", "replaced", "removed", "cut short"])
def test_a_file_that_changes_is_let_alone(path, how, tmp_path):
    graph = read(path)
    if how == "written over":
        path.write_bytes(model(shift=1.0).SerializeToString())
        os.utime(path, ns=(1, 1))
    elif how == "replaced":
        onnx.save(model(shift=1.0), tmp_path / "other")
        os.replace(tmp_path / "other", path)
    elif how == "cut short":
        os.truncate(path, 100)
    else:
        path.unlink()
    assert same(graph.weight("weight"), model())


def test_converted_models_use_what_was_converted(tmp_path):
    """Constants that come out of an older opset or a function are not looked up in the file."""
    proto = model()
    proto.functions.append(
        helper.make_function(
            "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )  # fmt: skip
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[1].output[0] = "half"
    proto.graph.node.append(helper.make_node("Twice", ["half"], ["y"], domain="own"))
    onnx.save(proto, tmp_path / "model.onnx")
    graph = read(tmp_path / "model.onnx")
    assert {node.op for node in graph.nodes} == {"MatMul", "Add"}
    assert same(graph.weight("weight"), model())
