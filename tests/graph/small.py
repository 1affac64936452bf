"""Small models for the tests of spa.graph, written in ONNX's own text form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from spa import runtime
from spa.graph import Graph, read
from spa.probes import plain


def model(text: str, constants: Mapping[str, Any] | None = None, *, opset: int = 17) -> ModelProto:
    """A model from the text of its graph, with further initializers."""
    head = f'<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1, "local": 1]>'
    proto = onnx.parser.parse_model(f"{head}\n{text}")
    for name, value in (constants or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return proto


def linear(*, opset: int = 17, batch: str = "N") -> ModelProto:
    """One matrix multiplication and a bias."""
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    text = f"g (float[{batch},3] x) => (float[{batch},4] y) {{ h = MatMul(x, w)  y = Add(h, b) }}"
    return model(text, {"w": weight, "b": np.ones(4, np.float32)}, opset=opset)


def external(folder: Path, *, location: str = "weights.bin", **entries: str) -> ModelProto:
    """`linear` with its weight described as external data; writes no file."""
    proto = linear()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return proto


def ops(graph: Graph) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op for node in graph.nodes]


def everything(graph: Graph) -> dict[str, Any]:
    """What onnxruntime computes for every tensor of a graph at its chosen sizes."""
    proto = ModelProto()
    proto.CopyFrom(graph.proto)
    known = set(graph.outputs)
    names = [name for node in graph.nodes for name in node.outputs if name and name not in known]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = runtime.session(proto, optimize=False, threads=1, base_dir=graph.source.base_dir)
    return runtime.run(session, plain.feeds(graph))


def check_against_engine(proto: ModelProto) -> Graph:
    """Read a model and compare every shape and value with what onnxruntime computes."""
    graph = read(proto)
    for name, value in everything(graph).items():
        if isinstance(value, np.ndarray):
            assert graph.shapes[name] == value.shape, name
            assert graph.dtypes[name] == value.dtype, name
        if name in graph.values:
            np.testing.assert_array_equal(graph.values[name], value, err_msg=name)
    same_outputs(proto, graph.proto, graph)
    return graph


def same_outputs(before: ModelProto, after: ModelProto, graph: Graph) -> None:
    """Both models compute the same bits on the inputs of `graph`."""
    feeds = plain.feeds(graph)
    old, new = (
        runtime.run(runtime.session(proto, optimize=False, threads=1), feeds)
        for proto in (before, after)
    )
    assert list(old) == list(new)
    for name, value in old.items():
        np.testing.assert_array_equal(value, new[name], err_msg=name)
