"""Large weights are read where they lie in the file, and only as long as it is the same file."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spa.graph import read
from spa.graph.mapped import LEAST, spans
from tests.nets.layers import products

LARGE = (300, 1024)


def model(seed: int = 0) -> onnx.ModelProto:
    """x [1, 300] times a large matrix, plus a small vector; another seed gives other numbers."""
    return products(*LARGE, batch=1, seed=seed)


WEIGHT, BIAS = (tensor.name for tensor in model().graph.initializer)


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
    assert found.keys() == {WEIGHT, BIAS}
    for tensor in proto.graph.initializer:
        begin, end = found[tensor.name]
        assert data[begin:end] == tensor.raw_data
    assert spans(memoryview(data), LEAST).keys() == {WEIGHT}


@pytest.mark.parametrize("size", [1, 10, 1000, 100_000])
def test_what_is_cut_short_has_no_spans(path, size):
    assert spans(memoryview(path.read_bytes()[:-size]), 1) == {}


def test_other_bytes_do_no_harm():
    for seed in range(200):
        spans(memoryview(np.random.default_rng(seed).bytes(300)), 1)


@pytest.mark.skipif(os.name != "posix", reason="the file is not kept mapped")
def test_a_large_weight_is_not_copied(path):
    graph = read(path)
    array = graph.weight(WEIGHT)
    assert same(array, model()) and not array.flags.writeable
    plain = graph.consts[WEIGHT]  # may be a copy, and is aligned
    assert plain.flags.aligned and same(plain, model())
    assert graph.weight(WEIGHT).ctypes.data == array.ctypes.data != plain.ctypes.data


def test_small_weights_and_models_in_memory():
    graph = read(model().SerializeToString())
    assert same(graph.weight(WEIGHT), model())
    assert graph.weight(BIAS).shape == (LARGE[1],)


@pytest.mark.parametrize("how", ["written over", "replaced", "removed", "cut short"])
def test_a_file_that_changes_is_let_alone(path, how, tmp_path):
    graph = read(path)
    if how == "written over":
        path.write_bytes(model(seed=1).SerializeToString())
        os.utime(path, ns=(1, 1))
    elif how == "replaced":
        onnx.save(model(seed=1), tmp_path / "other")
        os.replace(tmp_path / "other", path)
    elif how == "cut short":
        os.truncate(path, 100)
    else:
        path.unlink()
    assert same(graph.weight(WEIGHT), model())


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
    out = proto.graph.output[0].name
    proto.graph.node[1].output[0] = "half"
    proto.graph.node.append(helper.make_node("Twice", ["half"], [out], domain="own"))
    onnx.save(proto, tmp_path / "model.onnx")
    graph = read(tmp_path / "model.onnx")
    assert {node.op for node in graph.nodes} == {"MatMul", "Add"}
    assert same(graph.weight(WEIGHT), model())
