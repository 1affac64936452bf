"""Models of one node, and of several, from a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, parser, shape_inference

from tests.corpus.cases import Case

MICROSOFT = "com.microsoft"


def noise(*shape: int) -> np.ndarray:
    """Random numbers, the same for the same shape; positive, so that every function is defined."""
    return np.random.default_rng(sum(shape) + 1).uniform(0.1, 1, shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(numbers, np.int64)


def quantised(*shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, their scale and their zero."""
    scale, zero = np.array(0.1, np.float32), np.array(7, np.uint8)
    return (noise(*shape) * 50).astype(np.uint8), scale, zero


def case(
    op: str, opset: int, /, *inputs: np.ndarray | None, outs: int | Sequence[str] = 1, **attrs: Any
) -> Case:
    """A model of one node; its inputs are called a, b, c..."""
    domain = attrs.pop("domain", "")
    names = ["" if x is None else "abcdefghijklmnopqr"[i] for i, x in enumerate(inputs)]
    outputs = [f"y{k}" for k in range(outs)] if isinstance(outs, int) else list(outs)
    node = helper.make_node(op, names, outputs, domain=domain or None, **attrs)
    arrays = {n: np.asarray(x) for n, x in zip(names, inputs, strict=True) if x is not None}
    said = "_".join([op, str(opset), *(f"{k}={v}" for k, v in attrs.items())])
    return model_of([node], opset, arrays, f"{domain}.{op}" if domain else op, said)


def model_of(
    nodes: Sequence[NodeProto], opset: int, arrays: dict[str, np.ndarray], key: str, said: str
) -> Case:
    """A model of these nodes, of which the last one makes the outputs."""
    kinds = {n: helper.np_dtype_to_tensor_dtype(x.dtype) for n, x in arrays.items()}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "extra",
            [helper.make_tensor_value_info(n, kinds[n], x.shape) for n, x in arrays.items()],
            [helper.make_empty_tensor_value_info(o) for o in nodes[-1].output if o],
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=10 if opset > 20 else 8,
    )
    inferred = shape_inference.infer_shapes(model).graph.output
    for info, known in zip(model.graph.output, inferred, strict=True):
        kind = kind_of(nodes[-1], list(nodes[-1].output).index(info.name))
        info.type.tensor_type.elem_type = known.type.tensor_type.elem_type or kind
    shapes = "_".join("x".join(map(str, x.shape)) for x in arrays.values())
    return Case(f"extra_{said}_{shapes}".replace(" ", ""), key, model, arrays)


def kind_of(node: NodeProto, k: int) -> int:
    """The type of an output that ONNX's inference does not know."""
    if node.op_type.endswith("EmbedLayerNormalization") and k == 1:
        return TensorProto.INT32  # lengths
    of_bytes = node.op_type.startswith("QLinear") or (
        node.op_type == "QGemm" and len(node.input) > 7
    )
    return TensorProto.UINT8 if of_bytes else TensorProto.FLOAT


def chain(key: str, opset: int, text: str, **arrays: np.ndarray) -> Case:
    """A model of several nodes, written as in `onnx.parser`."""
    nodes = [parser.parse_node(line.strip()) for line in text.strip().splitlines()]
    return model_of(nodes, opset, arrays, f"{key} (several)", f"{key}_several_{opset}")
