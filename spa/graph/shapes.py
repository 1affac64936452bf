"""Shapes, types and small values of every tensor, node by node.

ONNX's own rules infer one node at a time from concrete input types, so that shape arithmetic can
be evaluated on the way and no weight is copied.  What they cannot tell an engine may (a callback).
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, TypeProto, numpy_helper

from spa.graph.checks import mismatch
from spa.graph.evaluate import (
    BOUNDED,
    DATA_DEPENDENT,
    QUANTIZERS,
    SMALL,
    evaluate,
    has_subgraph,
    is_pure,
    schema_of,
    words,
)
from spa.graph.tensors import Consts, dtype_of

Shape = tuple[int, ...]
Engine = Callable[
    [onnx.NodeProto, Mapping[str, int], Mapping[str, TypeProto], Mapping[str, TensorProto]],
    Mapping[str, TypeProto] | None,
]
"""(node, opsets, input types, constant inputs) -> output types, or None."""

TELLING = 1024
"""Elements up to which a value is shown to shape inference (targets, axes, pads, sizes)."""


SELECTING = words("Gather Slice Split Squeeze Unsqueeze Identity")
"""Ops that move the elements of their first input about and do nothing else."""


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
    partial: MutableMapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    doubts: int = 0  # branches that cannot run while the other one can
    stop: bool = False  # end the walk at the first error
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
    if all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return tuple(dim.dim_value for dim in dims)
    return None


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
        tensor.name: tensor_type(tensor.data_type, tensor.dims) for tensor in graph.initializer
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
        if name in consts and _telling(consts.protos[name])
    }
    return Step(node, version, schema, is_pure(node), has_subgraph(node), data)


def _telling(tensor: TensorProto) -> bool:
    return len(tensor.dims) <= 1 and math.prod(tensor.dims) <= TELLING


def _inline(name: str, consts: Consts) -> TensorProto:
    tensor = consts.protos[name]
    if tensor.data_location != TensorProto.EXTERNAL:
        return tensor
    return numpy_helper.from_array(consts[name], name)


def walk(
    program: Program,
    inputs: Mapping[str, TypeProto],
    *,
    engine: Engine | None = None,
    stop: bool = False,
    outer: Facts | None = None,
) -> Facts:
    """Infer all tensors of `program` from the types of its inputs.

    `stop` ends the walk at the first contradiction; `outer` is what the enclosing graph knows.
    """
    facts = Facts(stop=stop)
    if outer is not None:
        facts = Facts(
            ChainMap({}, outer.types),
            ChainMap({}, outer.values),
            partial=ChainMap({}, outer.partial),
            stop=outer.stop,
        )
    facts.types.update(program.const_types)
    facts.types.update(inputs)
    for step in program.steps:
        _infer(step, program, facts, engine)
        if facts.stop and facts.errors:
            break
    return facts


def value_of(name: str, program: Program, facts: Facts) -> np.ndarray | None:
    """The value of a small known tensor."""
    if name in facts.values:
        return facts.values[name]
    tensor = program.consts.protos.get(name)
    if tensor is None or math.prod(tensor.dims) > SMALL:
        return None
    return program.consts[name]


def _infer(step: Step, program: Program, facts: Facts, engine: Engine | None) -> None:
    """Add what is known of the outputs of one node to `facts`."""
    node = step.node
    found = _inferred(step, program, facts, engine)
    for name in node.output:
        if name and name in found and found[name].WhichOneof("value") is not None:
            facts.types[name] = found[name]
    if not step.branches:
        problem = mismatch(node, facts.shape)
        if problem:
            facts.errors.append(f"{_called(node)}: {problem}")
    if step.pure and node.op_type not in QUANTIZERS:
        _evaluate(step, program, facts)
    _complete(step, program, facts, engine)


def _inferred(
    step: Step, program: Program, facts: Facts, engine: Engine | None
) -> Mapping[str, TypeProto]:
    node = step.node
    if step.branches:
        from spa.graph.bodies import infer_body

        try:
            return infer_body(step, program, facts, engine)
        except Exception as error:  # a body that does not fit its node
            facts.errors.append(f"{_called(node)}: {_first_line(error)}")
            return {}
    if step.schema is None:
        return {}
    types = {name: facts.types[name] for name in node.input if name and name in facts.types}
    if any(name and name not in types for name in node.input):
        return {}
    data = dict(step.data)
    for name in node.input:
        value = facts.values.get(name)
        if value is not None and value.ndim <= 1 and value.size <= TELLING:
            data[name] = numpy_helper.from_array(value, name)
    try:
        return onnx.shape_inference.infer_node_outputs(
            step.schema,
            node,
            types,
            input_data=data,
            opset_imports=program.imports,
            ir_version=program.ir_version,
        )
    except onnx.shape_inference.InferenceError as error:
        facts.errors.append(f"{_called(node)}: {_first_line(error)}")
    except Exception as error:  # the C++ side raises whatever it likes
        facts.errors.append(f"{_called(node)}: {_first_line(error)}")
    return {}


def _evaluate(step: Step, program: Program, facts: Facts) -> None:
    """Compute the values of small outputs whose inputs are all known."""
    node = step.node
    if node.op_type in ("Shape", "Size"):
        _measure(step, facts)
        return
    if node.op_type in SELECTING and node.input[0] in facts.partial:
        _select(step, program, facts)
        return
    inputs = [value_of(name, program, facts) if name else None for name in node.input]
    if any(name and value is None for name, value in zip(node.input, inputs, strict=True)):
        return
    shapes = [facts.shape(name) for name in node.output if name]
    sizes = [math.prod(shape) for shape in shapes if shape is not None]
    unknown = len(sizes) < len(shapes)
    if any(size > SMALL for size in sizes) or (unknown and node.op_type not in BOUNDED):
        return
    _keep(step, facts, evaluate(node, step.version, inputs) or ())


def _measure(step: Step, facts: Facts) -> None:
    """Compute Shape or Size, or as much of a shape as is known."""
    node = step.node
    shape = facts.shape(node.input[0])
    if node.op_type == "Size":
        if shape is not None:
            _keep(step, facts, (np.asarray(math.prod(shape), np.int64),))
        return
    kind = facts.types.get(node.input[0])
    if kind is None or not kind.tensor_type.HasField("shape"):
        return
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    dims = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in kind.tensor_type.shape.dim
    ][bounds.get("start") : bounds.get("end")]
    if None in dims:
        facts.partial[node.output[0]] = tuple(dims)
    else:
        _keep(step, facts, (np.asarray(dims, np.int64),))


def _select(step: Step, program: Program, facts: Facts) -> None:
    """Compute a selection from a shape of which only some axes are known."""
    node = step.node
    dims = facts.partial[node.input[0]]
    others = [value_of(name, program, facts) if name else None for name in node.input[1:]]
    if any(name and value is None for name, value in zip(node.input[1:], others, strict=True)):
        return
    # Run it on positions: whatever it selects, moves or repeats, it does the same to the sizes.
    for name, places in zip(
        node.output,
        evaluate(node, step.version, [np.arange(len(dims)), *others]) or (),
        strict=False,
    ):
        picked = [dims[place] for place in places.reshape(-1)]
        if None not in picked:
            _keep_one(name, facts, np.asarray(picked, np.int64).reshape(places.shape))
        elif places.ndim == 1:
            facts.partial[name] = tuple(picked)


def _keep(step: Step, facts: Facts, outputs: Iterable[np.ndarray]) -> None:
    for name, value in zip(step.node.output, outputs, strict=False):
        if name:
            _keep_one(name, facts, value)


def _keep_one(name: str, facts: Facts, value: np.ndarray) -> None:
    kind = facts.types.get(name)
    shape = facts.shape(name)
    if kind is not None and dtype_of(kind.tensor_type.elem_type) != value.dtype:
        return  # the reference disagrees with the standard: believe neither
    if (shape is not None and shape != value.shape) or value.size > SMALL:
        return
    if value.dtype.kind in "OSU":
        return
    value.setflags(write=False)
    facts.values[name] = value
    elem_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    facts.types[name] = tensor_type(elem_type, value.shape)


def _complete(step: Step, program: Program, facts: Facts, engine: Engine | None) -> None:
    """Fill what inference left open from what the file declares or the engine says."""
    open_names = [name for name in step.node.output if name and _is_open(facts.types.get(name))]
    if not open_names:
        return
    answers: list[Mapping[str, TypeProto]] = [program.declared]
    if engine is not None and _may_ask(step.node, facts):
        names = [name for name in step.node.input if name]
        values = {name: value_of(name, program, facts) for name in names}
        small = {
            name: numpy_helper.from_array(value, name)
            for name, value in values.items()
            if value is not None
        }
        types = {name: facts.types[name] for name in names}
        answers.append(engine(step.node, program.opsets, types, small) or {})
    for name in open_names:
        for answer in answers:
            kind = answer.get(name)
            if kind is not None and (name not in facts.types or static_shape(kind) is not None):
                facts.types[name] = kind


def _is_open(kind: TypeProto | None) -> bool:
    if kind is None or kind.WhichOneof("value") is None:
        return True
    return kind.HasField("tensor_type") and static_shape(kind) is None


def _may_ask(node: onnx.NodeProto, facts: Facts) -> bool:
    if node.op_type in DATA_DEPENDENT or has_subgraph(node):
        return False
    return all(not name or facts.shape(name) is not None for name in node.input)


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} node '{node.name or (node.output[0] if node.output else '')}'"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
