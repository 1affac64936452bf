"""Types across the borders of If, Loop and Scan: the bodies are walked like graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TypeProto

from spa.graph.evaluate import attribute_of
from spa.graph.facts import Facts, Program, Step, prepare, static_shape, tensor_type, value_of

MOST_ROUNDS = 4  # walks over a body in search of types that hold in every iteration
MOST_TRIPS = 1 << 20  # a Loop that may run more often is one that its condition ends
Types = Mapping[str, TypeProto]
Kinds = list[TypeProto | None]


@dataclass(frozen=True)
class Scope:
    """The graph around a body, what is known of it, and how to walk a graph inside it."""

    program: Program
    facts: Facts
    walk: Callable[[Program, Types, Facts], Facts]


def infer_body(step: Step, scope: Scope) -> Types:
    """The output types of a node with subgraphs; what cannot be told is missing."""
    infer = {"If": _if, "Loop": _loop, "Scan": _scan}.get(step.node.op_type)
    if infer is None or step.node.domain not in ("", "ai.onnx"):
        return {}
    return infer(step, scope)


def _outputs(body: onnx.GraphProto, inputs: Types, scope: Scope) -> Kinds:
    """Types of the outputs of `body`."""
    program, facts = scope.program, scope.facts
    consts = program.consts.nested(body.initializer)
    inner = prepare(body, program.opsets, consts, program.ir_version)
    found = scope.walk(inner, inputs, facts)
    facts.errors.extend(found.errors)
    facts.doubts += found.doubts
    # A body may be walked more than once: what is kept of its tensors holds every time.
    made = [name for node in body.node for name in node.output if name]
    here = {name: found.types.get(name) for name in (*(info.name for info in body.input), *made)}
    for name, kind in (*found.inner.items(), *here.items()):
        facts.inner[name] = _join(kind, facts.inner.get(name, kind))
    _keep_values(made, found, facts)
    return [found.types.get(output.name) for output in body.output]


def _keep_values(made: Sequence[str], found: Facts, facts: Facts) -> None:
    """Keep the values of a body's tensors that the latest walk knows: it is the most general."""
    for name in made:
        facts.inner_values.pop(name, None)
        if name in found.values:
            facts.inner_values[name] = found.values[name]
    facts.inner_values.update(found.inner_values)


def _join(left: TypeProto | None, right: TypeProto | None) -> TypeProto:
    """What two types agree on."""
    if left is None or right is None:
        return TypeProto()
    if left == right:
        return left
    joined = TypeProto()
    if left.tensor_type.elem_type == right.tensor_type.elem_type:
        joined.tensor_type.elem_type = left.tensor_type.elem_type
        ours, theirs = left.tensor_type.shape.dim, right.tensor_type.shape.dim
        if len(ours) == len(theirs) and left.tensor_type.HasField("shape"):
            joined.tensor_type.shape.SetInParent()
            for one, other in zip(ours, theirs, strict=True):
                dim = joined.tensor_type.shape.dim.add()
                if one == other:
                    dim.CopyFrom(one)
    return joined


def _if(step: Step, scope: Scope) -> Types:
    branches = {attribute.name: attribute.g for attribute in step.node.attribute}
    condition = value_of(step.node.input[0], scope.program, scope.facts)
    taken = ["then_branch", "else_branch"]
    if condition is not None and condition.size == 1:
        taken = ["then_branch" if bool(condition.reshape(())) else "else_branch"]
    # A branch that cannot run on these sizes is not the one that will: its errors do not count,
    # unless no branch can.  The then branch weighs more: random inputs are made to lead into it.
    before = len(scope.facts.errors)
    results: list[Kinds] = []
    broken: list[Kinds] = []
    doubts = 0
    for weight, name in zip((2, 1), taken, strict=False):
        start = len(scope.facts.errors)
        types = _outputs(branches[name], {}, scope)
        (broken if len(scope.facts.errors) > start else results).append(types)
        doubts += weight if len(scope.facts.errors) > start else 0
    if results:
        scope.facts.doubts += doubts
        del scope.facts.errors[before:]
    results = results or broken
    return {
        name: _join(kinds[0], kinds[-1])
        for name, *kinds in zip(step.node.output, *results, strict=False)
        if name
    }


def _loop(step: Step, scope: Scope) -> Types:
    node = step.node
    body = attribute_of(node, "body")
    fixed = [tensor_type(onnx.TensorProto.INT64, ()), tensor_type(onnx.TensorProto.BOOL, ())]
    carried = [scope.facts.types.get(name) for name in node.input[2:]]

    def once(states: Kinds) -> Kinds:
        return _outputs(body, _named(body, [*fixed, *states]), scope)[1:]

    kept, outputs = _settled(once, carried)
    runs = trips_of(node, scope.program, scope.facts)
    if node.input[1] and not scope.facts.full:  # it may end before
        runs = None
    stacked = [_stacked(kind, runs, 0) for kind in outputs[len(carried) :]]
    return dict(zip(node.output, [*kept, *stacked], strict=False))


def trips_of(node: onnx.NodeProto, program: Program, facts: Facts) -> int | None:
    """How often a Loop may run, if that is known and not as good as for ever."""
    name = node.input[0]
    trips = value_of(name, program, facts) if name else None
    trips = facts.inner_values.get(name) if trips is None else trips
    if trips is None or trips.size != 1 or not 0 <= int(trips.reshape(())) <= MOST_TRIPS:
        return None
    return int(trips.reshape(()))


def _scan(step: Step, scope: Scope) -> Types:
    if step.version < 9:
        return {}
    node = step.node
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    count, body = attributes["num_scan_inputs"], attributes["body"]
    first = len(node.input) - count
    states = [scope.facts.types.get(name) for name in node.input[:first]]
    slices: Kinds = []
    length = None
    axes = attributes.get("scan_input_axes", [0] * count)
    for name, axis in zip(node.input[first:], axes, strict=True):
        shape = scope.facts.shape(name)
        if shape is None:
            slices.append(None)
            continue
        length = shape[axis]
        rest = np.delete(np.asarray(shape, np.int64), axis).tolist()
        slices.append(tensor_type(scope.facts.types[name].tensor_type.elem_type, rest))

    def once(states: Kinds) -> Kinds:
        return _outputs(body, _named(body, [*states, *slices]), scope)

    kept, outputs = _settled(once, states)
    stacked = outputs[first:]
    out_axes = attributes.get("scan_output_axes", [0] * len(stacked))
    grown = [_stacked(kind, length, axis) for kind, axis in zip(stacked, out_axes, strict=True)]
    return dict(zip(node.output, [*kept, *grown], strict=False))


def _settled(once: Callable[[Kinds], Kinds], states: Kinds) -> tuple[list[TypeProto], Kinds]:
    """Types of loop states that hold in every iteration, and the outputs of a body run on them."""
    kept: list[TypeProto] = []
    outputs: Kinds = []
    for _ in range(MOST_ROUNDS):
        outputs = once(states)
        kept = [_join(ours, theirs) for ours, theirs in zip(states, outputs, strict=False)]
        # A state that changes its shape loses it, and may make others lose theirs: never back.
        if all(ours is None or ours == theirs for ours, theirs in zip(states, kept, strict=False)):
            return kept, outputs
        states = [None if kind.WhichOneof("value") is None else kind for kind in kept]
    return [TypeProto() for _ in kept], once([None for _ in states])


def _named(body: onnx.GraphProto, kinds: Sequence[TypeProto | None]) -> Types:
    return {
        info.name: kind for info, kind in zip(body.input, kinds, strict=False) if kind is not None
    }


def _stacked(kind: TypeProto | None, length: int | None, axis: int) -> TypeProto:
    """`kind` with one more axis of `length` at `axis`."""
    shape = None if kind is None else static_shape(kind)
    if kind is None or shape is None:
        return TypeProto()
    axis = axis + len(shape) + 1 if axis < 0 else axis
    stacked = tensor_type(kind.tensor_type.elem_type, (*shape[:axis], 0, *shape[axis:]))
    dim = stacked.tensor_type.shape.dim[axis]
    if length is None:
        dim.ClearField("dim_value")
    else:
        dim.dim_value = length
    return stacked
