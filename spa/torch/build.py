"""From a graph of a file to a `Program`: places for names, functions with attributes bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto
from torch import Tensor

from spa.errors import ReadError
from spa.graph.normalize import captured_names, constant_of, graphs_in
from spa.graph.stored import Path as Inside
from spa.graph.stored import Place, sparse_of, step_of
from spa.graph.tensors import to_array
from spa.torch.fuse import fused
from spa.torch.program import Mode, Program, Step
from spa.torch.registry import ALL, FREE, Operator, find
from spa.torch.values import DTYPES, FLOATS, WIDER, tensor_of


@dataclass(eq=False)
class Held:
    """A constant of a graph before it is decided whether it is trained.

    Attributes:
        place: where its file stores it.
        program: in which it is read.
        slot: its place there.
        tensor: its value.
        trained: whether a gradient can reach it.
    """

    place: Place
    program: Program
    slot: int
    tensor: Tensor
    trained: bool = False
    norm: bool = False


@dataclass(eq=False)
class Builder:
    """Makes the programs of a model.

    Attributes:
        opsets: version by domain.
        base_dir: the folder of external data.
        mode: what functions ask for while they run.
    """

    opsets: Mapping[str, int]
    base_dir: Path | None
    mode: Mode
    held: list[Held] = field(default_factory=list)

    def program(self, graph: GraphProto, path: Inside = ()) -> Program:
        """The program of a graph; its constants are added to `held`."""
        made = Program(fused)
        fed = [info.name for info in graph.input]
        kinds = _kinds(graph)
        for tensor in graph.initializer:
            self._constant(made, path, tensor)
        for each in graph.sparse_initializer:
            self._sparse(made, path, each.values.name, each)
        made.inputs = tuple(made.place(name) for name in fed)
        for node in graph.node:
            constant = constant_of(node)
            if constant is not None:
                self._constant(made, path, constant)
            elif (sparse := sparse_of(node)) is not None:
                self._sparse(made, path, node.output[0], sparse)
            else:
                made.steps.append(self._step(made, node, path, kinds))
        made.outputs = tuple(made.place(info.name) for info in graph.output)
        return made

    def _constant(self, program: Program, path: Inside, tensor: TensorProto) -> None:
        name = tensor.name
        value = tensor_of(to_array(tensor, self.base_dir), f"initializer '{name}'")
        self.held.append(Held((path, name), program, program.place(name), value))

    def _sparse(
        self, program: Program, path: Inside, name: str, sparse: onnx.SparseTensorProto
    ) -> None:
        value = tensor_of(_dense(sparse, self.base_dir))
        self.held.append(Held((path, name), program, program.place(name), value))

    def _step(
        self, program: Program, node: NodeProto, path: Inside, kinds: Mapping[str, int]
    ) -> Step:
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self.opsets.get(domain, 1)
        named = f"{node.op_type} node '{node.name or next(iter(node.output), '')}'"
        operator = find(domain, node.op_type, version)
        if operator is None:
            raise _unknown(named, domain, version)
        bodies: dict[str, Program] = {}
        captured = captured_names(node) if any(True for _ in graphs_in(node)) else ()
        attributes = {}
        for each in node.attribute:
            if each.type == AttributeProto.GRAPH:
                body = self.program(each.g, (*path, step_of(node, each.name)))
                body.outer = [
                    (k, body.places[name])
                    for k, name in enumerate(captured)
                    if name in body.places and not _own(each.g, name)
                ]
                bodies[each.name] = body
            else:
                attributes[each.name] = _attribute(each, named)
        call = self._bound(operator, node, named, version, {**attributes, **bodies}, kinds)
        ins = [program.place(name) for name in node.input]
        while ins and not bodies and ins[-1] == 0:
            ins.pop()
        ins += [program.place(name) for name in captured]
        outs = [program.place(name) for name in node.output]
        while len(outs) > 1 and outs[-1] == 0:
            outs.pop()
        return Step(call, tuple(ins), tuple(outs), operator, named, tuple(bodies.values()))

    def _bound(
        self,
        operator: Operator,
        node: NodeProto,
        named: str,
        version: int,
        attributes: Mapping[str, object],
        kinds: Mapping[str, int],
    ) -> Callable[..., object]:
        told = {name: value for name, value in attributes.items() if name not in FREE}
        unknown = told.keys() - operator.names
        if unknown:
            raise ReadError(
                f"{named} has the attribute '{min(unknown)}', which has no meaning in gradients "
                "here; export the model again without it"
            )
        asked: dict[str, object] = {
            "version": version,
            "inputs": len(node.input),
            "outputs": len(node.output),
            "state": self.mode,
            "soft": False,
            "kinds": tuple(kinds.get(name, 0) for name in node.input),
        }
        told.update({name: asked[name] for name in operator.asks})
        return partial(operator.function, **told) if told else operator.function


def _kinds(graph: GraphProto) -> dict[str, int]:
    """Element types that a graph states of its tensors."""
    infos = (*graph.input, *graph.value_info, *graph.output)
    found = {info.name: info.type.tensor_type.elem_type for info in infos}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _own(graph: GraphProto, name: str) -> bool:
    """Whether a body defines a name itself from the start, so that it hides one outside."""
    return any(info.name == name for info in graph.input) or any(
        tensor.name == name for tensor in graph.initializer
    )


def _dense(sparse: onnx.SparseTensorProto, base_dir: Path | None) -> np.ndarray:
    values = to_array(sparse.values, base_dir)
    indices = to_array(sparse.indices, base_dir)
    made = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 2:
        made[tuple(indices.T)] = values
    else:
        made.reshape(-1)[indices] = values
    return made


def _attribute(attribute: AttributeProto, named: str) -> object:
    if attribute.type in (AttributeProto.TENSOR, AttributeProto.SPARSE_TENSOR):
        if attribute.type == AttributeProto.TENSOR:
            return tensor_of(to_array(attribute.t), f"attribute '{attribute.name}' of {named}")
        return tensor_of(_dense(attribute.sparse_tensor, None))
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
    return value


def _unknown(named: str, domain: str, version: int) -> ReadError:
    where = f"version {version} of {domain or 'ai.onnx'}"
    return ReadError(
        f"{named} is of an operator ({where}) that has no gradients here; prune the model without "
        "torch, take that part out of it, or register a function for the operator with "
        "spa.torch.registry.op"
    )


def settle(held: Sequence[Held], program: Program) -> None:
    """Mark the constants that a gradient can reach, from the outputs of a program backwards."""
    _reach(program, set(program.outputs))
    for each in held:
        each.trained = each.slot in each.program.reached and each.tensor.dtype in FLOATS


def _reach(program: Program, wanted: set[int]) -> set[int]:
    """Places of a program from which data flow to `wanted`, if only to be counted or compared."""
    made = {place for step in program.steps for place in step.outs}
    for step in reversed(program.steps):
        if not wanted.intersection(step.outs) - {0}:
            continue
        steer = step.operator.steer
        for k, place in enumerate(step.ins):
            if k not in steer or (steer is ALL and place in made):
                wanted.add(place)
        for body in step.bodies:
            _reach(body, set(body.outputs))
    program.reached = frozenset(wanted)
    return wanted


def fold(program: Program) -> None:
    """Run once and for all what only depends on small integers of the file."""
    live = {place for place, _, _ in program.live} | set(program.inputs)
    kept = []
    for step in program.steps:
        for body in step.bodies:
            fold(body)
        known = [program.base[place] for place in step.ins]
        if (
            step.bodies
            or not step.operator.bounded
            or not any(isinstance(v, Tensor) for v in known)
            or any(place and v is None for place, v in zip(step.ins, known, strict=True))
            or live.intersection(step.ins)
            or not _folded(program, step, known)
        ):
            kept.append(step)
    program.steps = kept


def _folded(program: Program, step: Step, known: Sequence[object]) -> bool:
    """Put what a step makes of constants into their places, if it is integers."""
    try:
        made = step.call(*known)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False  # it may never run, and else says so then
    values = made if isinstance(made, tuple | list) else (made,)
    if not all(isinstance(v, Tensor) and not v.is_floating_point() for v in values):
        return False
    for place, value in zip(step.outs, values, strict=False):
        if place:
            program.base[place] = value
    return True


def is_narrow(held: Sequence[Held], graph: GraphProto) -> bool:
    """Whether a model computes in a type anywhere that is widened on the CPU."""
    kinds = {kind for kind, dtype in DTYPES.items() if dtype in WIDER}
    if any(each.tensor.dtype in WIDER for each in held):
        return True
    infos = (*graph.input, *graph.output, *graph.value_info)
    if any(_elem_type(info.type) in kinds for info in infos):
        return True
    asked = ("to", "dtype", "output_dtype", "output_datatype")
    return any(a.name in asked and a.i in kinds for node in graph.node for a in node.attribute)


def _elem_type(kind: onnx.TypeProto) -> int:
    """Of a tensor, or of what a sequence or an optional value holds."""
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        kind = (
            kind.sequence_type.elem_type
            if kind.HasField("sequence_type")
            else kind.optional_type.elem_type
        )
    return int(kind.tensor_type.elem_type)
