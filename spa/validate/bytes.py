"""Products of bytes in exact arithmetic, on any processor.

Processors without an instruction for sums of products of bytes add two products of an unsigned and
a signed byte in 16 bits, which saturate: then the order of channels matters, and the pruned model
has another.  Products of unsigned bytes have kernels that cannot saturate, so signed weights are
moved by 128 together with their zero point, which changes no result.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from spa.coupling.view import trait_at
from spa.graph.tensors import copied
from spa.make import make
from spa.validate.neutral import all_graphs

SHIFT = 128
MOVE = "spa_moved_by"


def unsigned(model: ModelProto, dtypes: Mapping[str, np.dtype]) -> ModelProto:
    """The model with products of unsigned bytes only, as far as onnxruntime has them."""
    if not any(trait_at(n).bytes for graph in all_graphs(model.graph) for n in graph.node):
        return model
    result = copied(model)
    kinds = {n: int(helper.np_dtype_to_tensor_dtype(d)) for n, d in dtypes.items() if d.kind != "O"}
    kinds |= {t.name: t.data_type for t in model.graph.initializer}
    for k, graph in enumerate(all_graphs(result.graph)):
        moved: set[str] = set()
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            for active, weight, zero in trait_at(node).bytes:
                signed = kinds.get(_at(node, weight)) == TensorProto.INT8
                # onnxruntime has no kernels for signed activations and unsigned weights
                if signed and kinds.get(_at(node, active)) != TensorProto.INT8:
                    for place in (weight, zero):
                        graph.node.extend(_move(node, place, moved, k))
            graph.node.append(node)
    shift = np.array(SHIFT, np.int32)
    result.graph.initializer.append(numpy_helper.from_array(shift, MOVE))
    missing = numpy_helper.from_array(np.array(SHIFT, np.uint8), f"{MOVE}_zero")
    result.graph.initializer.append(missing)
    return result


def _at(node: NodeProto, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _move(node: NodeProto, place: int, moved: set[str], k: int) -> list[NodeProto]:
    """Let a node read an input moved by 128; the nodes that move it, unless one has done so.

    `k` numbers the graph that it stands in.
    """
    name = _at(node, place)
    if not name:  # a zero point that is not given is 0
        node.input.extend([""] * (place + 1 - len(node.input)))
        node.input[place] = f"{MOVE}_zero"
        return []
    wide, high, low = (f"{name}__{word}_{k}" for word in ("wide", "moved", "unsigned"))
    node.input[place] = low
    if name in moved:
        return []
    moved.add(name)
    return [
        make.Cast([name], [wide], to=TensorProto.INT32),
        make.Add([wide, MOVE], [high]),
        make.Cast([high], [low], to=TensorProto.UINT8),
    ]
