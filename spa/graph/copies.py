"""Weights that are stored several times: branches that share a layer, as exporters write them.

Cut and refitted apart, the branches would no longer compute the same.  So every reader of a copy
reads the first, which makes one weight of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from hashlib import blake2b
from math import prod

from onnx import GraphProto, TensorProto

from spa.graph.flatten import drop_initializers
from spa.graph.normalize import captured_names
from spa.graph.tensors import is_external

FLOATS = frozenset(
    (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
)


def share_copies(graph: GraphProto, weighted: Collection[str]) -> None:
    """Let the readers of equal weights read one of them.

    Biases and statistics beside them follow.  Only where some weight that an operator of `weighted`
    multiplies with is there twice: tables that happen to be equal are no reason.  Tensors that lie
    outside the model, and those of one number all over, are left.
    """
    first = _copies(graph)
    layers = {
        node.input[1] for node in graph.node if node.op_type in weighted and len(node.input) > 1
    }
    wide = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    if not any(name in layers & wide and first[name] in layers for name in first):
        return
    for node in graph.node:
        node.input[:] = [first.get(name, name) for name in node.input]
    drop_initializers(graph, set(first))


def _copies(graph: GraphProto) -> dict[str, str]:
    """By the name of a tensor, that of an earlier one of the same numbers."""
    fixed = {info.name for info in (*graph.output, *graph.input)}
    for node in graph.node:
        fixed.update(captured_names(node))
    free = [t for t in graph.initializer if t.data_type in FLOATS and t.name not in fixed]
    first: dict[str, str] = {}
    for group in _of_one_form(free):
        known: dict[bytes, str] = {}
        for tensor in group:
            raw, count = tensor.raw_data, prod(tensor.dims)
            if raw == raw[: len(raw) // count] * count:  # one number, or none
                continue
            earlier = known.setdefault(blake2b(raw).digest(), tensor.name)
            if earlier != tensor.name:
                first[tensor.name] = earlier
    return first


def _of_one_form(tensors: Iterable[TensorProto]) -> Iterable[list[TensorProto]]:
    """Tensors of one type and shape, where there are several and they lie in the model."""
    forms: dict[tuple[int, ...], list[TensorProto]] = defaultdict(list)
    for tensor in tensors:
        if prod(tensor.dims) > 1 and not is_external(tensor):
            forms[(tensor.data_type, *tensor.dims)].append(tensor)
    return [group for group in forms.values() if len(group) > 1]
