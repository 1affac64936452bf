"""What a walk over a graph needs and what it finds: programs, types, shapes, small values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, TypeProto, numpy_helper

from spa.graph.evaluate import SMALL, has_subgraph, is_pure, schema_of
from spa.graph.tensors import Consts, weights_of

Shape = tuple[int, ...]
Engine = Callable[
    [onnx.NodeProto, Mapping[str, int], Mapping[str, TypeProto], Mapping[str, TensorProto]],
    Mapping[str, TypeProto] | None,
]
"""(node, opsets, input types, constant inputs) -> output types, or None."""

TELLING = 1024
"""Elements up to which a value is shown to shape inference (targets, axes, pads, sizes)."""


@dataclass(frozen=True)
class Step:
    """What a walk wants to know of a node, looked up once for all walks."""

    node: onnx.NodeProto
    version: int
    schema: onnx.defs.OpSchema | None
    pure: bool
    branches: bool  # carries subgraphs
    data: Mapping[str, TensorProto]  # constants that shape inference may look at


@dataclass(frozen=True)
class Program:
    """A graph made ready for many walks."""

    graph: onnx.GraphProto
    steps: tuple[Step, ...]
    consts: Consts
    opsets: Mapping[str, int]
    imports: list[onnx.OperatorSetIdProto]
    ir_version: int
    declared: Mapping[str, TypeProto]  # value_info and graph outputs
    const_types: Mapping[str, TypeProto]


@dataclass
class Facts:
    """What one walk found out; a tensor whose type is unknown is simply missing."""

    types: MutableMapping[str, TypeProto] = field(default_factory=dict)
    values: MutableMapping[str, np.ndarray] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    inner: dict[str, TypeProto] = field(default_factory=dict)  # of tensors inside subgraphs
    inner_values: dict[str, np.ndarray] = field(default_factory=dict)  # known in every iteration
    partial: MutableMapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    doubts: int = 0  # branches that cannot run while the other one can
    stop: bool = False  # end the walk at the first error
    full: bool = False  # take it that a Loop with a condition runs as often as it may
    _shapes: dict[str, tuple[TypeProto, Shape | None]] = field(default_factory=dict)

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor if all of it is known."""
        kind = self.types.get(name)
        if kind is None:
            return None
        known = self._shapes.get(name)
        if known is None or known[0] is not kind:  # first asked, or more was found out since
            known = self._shapes[name] = (kind, static_shape(kind))
        return known[1]


def static_shape(kind: TypeProto) -> Shape | None:
    """The shape a type states, or None if an axis of it is open or it is no tensor."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    shape = tuple([dim.dim_value for dim in dims])  # 0 where none is stated
    if min(shape, default=1) > 0:
        return shape
    stated = all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims)
    return shape if stated else None


def tensor_type(elem_type: int, shape: Sequence[int]) -> TypeProto:
    """A tensor type of concrete shape."""
    kind = TypeProto()
    kind.tensor_type.elem_type = elem_type
    kind.tensor_type.shape.SetInParent()
    for size in shape:
        kind.tensor_type.shape.dim.add().dim_value = size
    return kind


def prepare(
    graph: onnx.GraphProto, opsets: Mapping[str, int], consts: Consts, ir_version: int
) -> Program:
    """Look up everything that stays the same from walk to walk."""
    declared = {
        info.name: info.type for info in (*graph.value_info, *graph.output) if info.HasField("type")
    }
    steps = tuple(_step(node, opsets, consts) for node in graph.node)
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    const_types = {
        tensor.name: tensor_type(tensor.data_type, tensor.dims) for tensor in weights_of(graph)
    }
    for sparse in graph.sparse_initializer:
        const_types[sparse.values.name] = tensor_type(sparse.values.data_type, sparse.dims)
    return Program(graph, steps, consts, opsets, imports, ir_version, declared, const_types)


def _step(node: onnx.NodeProto, opsets: Mapping[str, int], consts: Consts) -> Step:
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = opsets.get(domain, 1)
    schema = schema_of(node.op_type, version, domain)
    data = {
        name: _inline(name, consts)
        for name in node.input
        if name in consts
        and len(dims := consts.protos[name].dims) <= 1
        and math.prod(dims) <= TELLING
    }
    return Step(node, version, schema, is_pure(node), has_subgraph(node), data)


def _inline(name: str, consts: Consts) -> TensorProto:
    tensor = consts.protos[name]
    if tensor.data_location != TensorProto.EXTERNAL:
        return tensor
    return numpy_helper.from_array(consts[name], name)


def value_of(name: str, program: Program, facts: Facts) -> np.ndarray | None:
    """The value of a small known tensor."""
    if name in facts.values:
        return facts.values[name]
    tensor = program.consts.protos.get(name)
    if tensor is None or math.prod(tensor.dims) > SMALL:
        return None
    return program.consts[name]
