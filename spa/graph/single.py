"""Inputs that are one picture: they have no batch axis, and the model itself puts one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, NodeProto

from spa.graph.evaluate import attribute_of, words

if TYPE_CHECKING:
    from spa.graph.model import Graph

Consts = Mapping[str, np.ndarray]
RANK = 3
ON_THE_WAY = words(
    "Cast Identity Transpose Add Sub Mul Div Pad Resize Upsample Clip Slice Gather Concat "
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear"
)
"""What may happen to a picture before its first layer; the rest could make anything of it."""
LAYERS = words(
    "Conv ConvInteger QLinearConv MaxPool AveragePool BatchNormalization InstanceNormalization"
)
"""What reads `[batch, channels, height, width]` and nothing else of that rank."""


def single(graph: GraphProto, consts: Consts) -> frozenset[str]:
    """The inputs of three axes to which the model adds a batch of one before its first layer."""
    asked = [info.name for info in graph.input if len(info.type.tensor_type.shape.dim) == RANK]
    if not asked:
        return frozenset()
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return frozenset(name for name in asked if _is_made_a_batch(name, readers, consts))


def batch_axes(graph: Graph) -> dict[str, int | None]:
    """The first axis of every input, None where there is none or it is no batch."""
    alone = single(graph.proto.graph, graph.consts)
    return {n: 0 if graph.shapes.get(n) and n not in alone else None for n in graph.inputs}


def at_hand(graph: Graph) -> int:
    """How many samples one run of the analysis holds."""
    axes = batch_axes(graph)
    return max((graph.shapes[n][0] for n in axes if axes[n] is not None), default=1)


def _is_made_a_batch(name: str, readers: Mapping[str, Iterable[NodeProto]], consts: Consts) -> bool:
    todo, seen = [(name, False)], {name}
    while todo:
        tensor, batched = todo.pop()
        for node in readers.get(tensor, ()):
            if batched and node.op_type in LAYERS:
                return True
            grown = not batched and _adds_a_batch(node, tensor, consts)
            goes_on = grown or node.op_type in ON_THE_WAY
            if goes_on and node.output[0] not in seen:
                seen.add(node.output[0])
                todo.append((node.output[0], batched or grown))
    return False


def _adds_a_batch(node: NodeProto, tensor: str, consts: Consts) -> bool:
    """Whether a node puts one axis of size 1 before all others."""
    if node.op_type not in ("Unsqueeze", "Reshape") or node.input[0] != tensor:
        return False
    known = consts.get(node.input[1]) if len(node.input) > 1 else attribute_of(node, "axes")
    if known is None:
        return False
    values = [int(value) for value in np.ravel(known)]
    if node.op_type == "Unsqueeze":
        return values in ([0], [-RANK - 1])
    return len(values) == RANK + 1 and values[0] == 1
