"""Shapes, types and small values of every tensor, node by node.

ONNX's own rules infer one node at a time from concrete input types, so that shape arithmetic can
be evaluated on the way and no weight is copied.  What they cannot tell an engine may (a callback).
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from onnx import TypeProto, numpy_helper

from spa.errors import first_line
from spa.graph.bodies import Scope, infer_body
from spa.graph.checks import mismatch
from spa.graph.evaluate import (
    BOUNDED,
    DATA_DEPENDENT,
    QUANTIZERS,
    SMALL,
    evaluate,
    has_subgraph,
    words,
)
from spa.graph.facts import (
    TELLING,
    Engine,
    Facts,
    Program,
    Step,
    static_shape,
    tensor_type,
    value_of,
)
from spa.graph.tensors import dtype_of

SELECTING = words("Gather Slice Split Squeeze Unsqueeze Identity")
"""Ops that move the elements of their first input about and do nothing else."""


def walk(
    program: Program,
    inputs: Mapping[str, TypeProto],
    *,
    engine: Engine | None = None,
    stop: bool = False,
    full: bool = False,
    outer: Facts | None = None,
) -> Facts:
    """Infer all tensors of `program` from the types of its inputs.

    `stop` ends the walk at the first contradiction; `full` takes it that a Loop runs as often as it
    may, as one chosen size among others; `outer` is what the enclosing graph knows.
    """
    facts = Facts(stop=stop, full=full)
    if outer is not None:
        facts = Facts(
            ChainMap({}, outer.types),
            ChainMap({}, outer.values),
            partial=ChainMap({}, outer.partial),
            stop=outer.stop,
            full=outer.full,
        )
    facts.types.update(program.const_types)
    facts.types.update(inputs)
    for step in program.steps:
        _infer(step, program, facts, engine)
        if facts.stop and facts.errors:
            break
    return facts


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
        try:
            return infer_body(step, Scope(program, facts, _inside(engine)))
        except Exception as error:  # a body that does not fit its node
            facts.errors.append(f"{_called(node)}: {first_line(error)}")
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
    except Exception as error:  # an InferenceError, or whatever else the C++ side raises
        facts.errors.append(f"{_called(node)}: {first_line(error)}")
    return {}


def _inside(engine: Engine | None) -> Callable[[Program, Mapping[str, TypeProto], Facts], Facts]:
    """How a body is walked within what its graph knows."""
    return lambda program, inputs, outer: walk(program, inputs, engine=engine, outer=outer)


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
            kind, known = answer.get(name), facts.types.get(name)
            if kind is None or not _fits(kind, known):
                continue  # what a file declares may be wrong
            if known is None or static_shape(kind) is not None:
                facts.types[name] = kind


def _is_open(kind: TypeProto | None) -> bool:
    if kind is None or kind.WhichOneof("value") is None:
        return True
    return kind.HasField("tensor_type") and static_shape(kind) is None


def _fits(kind: TypeProto, known: TypeProto | None) -> bool:
    """Whether a type does not contradict what was inferred."""
    if known is None or known.WhichOneof("value") is None:
        return True
    if kind.WhichOneof("value") != known.WhichOneof("value"):
        return False
    stated, found = kind.tensor_type, known.tensor_type
    if 0 not in (stated.elem_type, found.elem_type) and stated.elem_type != found.elem_type:
        return False
    if not (stated.HasField("shape") and found.HasField("shape")):
        return True
    pairs = zip(stated.shape.dim, found.shape.dim, strict=False)
    return len(stated.shape.dim) == len(found.shape.dim) and all(
        a.dim_value == b.dim_value
        for a, b in pairs
        if a.HasField("dim_value") and b.HasField("dim_value")
    )


def _may_ask(node: onnx.NodeProto, facts: Facts) -> bool:
    if node.op_type in DATA_DEPENDENT or has_subgraph(node):
        return False
    return all(not name or facts.shape(name) is not None for name in node.input)


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} node '{node.name or (node.output[0] if node.output else '')}'"
