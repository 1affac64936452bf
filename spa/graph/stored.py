"""Where a model file stores its tensors: initializers and `Constant` nodes, those of bodies too.

A place is told by names that survive every normalisation: which body it lies in, by the first
output of the node that carries the body, and what the tensor is called there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from onnx import AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto

Path: TypeAlias = tuple[tuple[str, str], ...]
"""From the main graph inwards: the first output of a node, and which of its bodies."""

Place: TypeAlias = tuple[Path, str]
Kind: TypeAlias = tuple[tuple[int, ...], int]
"""Shape and element type."""

Stored: TypeAlias = Mapping[Place, Kind]
NUMBERS = {"value_float": 1, "value_floats": 1, "value_int": 7, "value_ints": 7}
"""Attributes of `Constant` that are no tensors, and the element types they mean."""


def stored_in(graph: GraphProto) -> Stored:
    """All tensors that a graph stores, by place."""
    found: dict[Place, Kind] = {}
    for path, each in graphs_of(graph):
        for tensor in each.initializer:
            found[path, tensor.name] = (tuple(tensor.dims), tensor.data_type)
        for node in each.node:
            if node.op_type == "Constant" and node.attribute and node.output:
                kind = _kind(node.attribute[0])
                if kind is not None:
                    found[path, node.output[0]] = kind
    return found


def graphs_of(graph: GraphProto, path: Path = ()) -> Iterator[tuple[Path, GraphProto]]:
    """A graph and all bodies inside it, each with its path."""
    yield path, graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from graphs_of(attribute.g, (*path, step_of(node, attribute.name)))


def step_of(node: NodeProto, attribute: str) -> tuple[str, str]:
    """One step of a path: into a body of a node."""
    return next((name for name in node.output if name), ""), attribute


def _kind(attribute: AttributeProto) -> Kind | None:
    if attribute.name == "value":
        return tuple(attribute.t.dims), attribute.t.data_type
    if attribute.name not in NUMBERS:
        return None
    several = len(attribute.floats) + len(attribute.ints)
    shape = (several,) if attribute.name.endswith("s") else ()
    return shape, NUMBERS[attribute.name]


def sparse_of(node: NodeProto) -> SparseTensorProto | None:
    """The sparse tensor that a `Constant` node holds; None of any other node."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.attribute:
        return None
    held: AttributeProto = node.attribute[0]
    found: SparseTensorProto = held.sparse_tensor
    return found if held.name == "sparse_value" else None


def tensor_at(graph: GraphProto, name: str) -> TensorProto | AttributeProto | None:
    """Where a graph stores a tensor: an initializer, or the attribute of a `Constant`."""
    tensor: TensorProto
    for tensor in graph.initializer:
        if tensor.name == name:
            return tensor
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output and node.attribute:
            held: AttributeProto = node.attribute[0]
            inside: TensorProto = held.t
            return inside if held.name == "value" else held
    return None
