"""The nodes of a graph as frozen data, those inside bodies included.

What crosses the border of a body is a node too, of the domain `FLOW`: a state that enters and
leaves, a slice of what a Scan walks along, a stack of what its steps make, the meeting of two
branches, and what steers an operation.  So the same rules and rewriters see what a body shares with
its surroundings, one tensor at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, NodeProto

from spa.graph.bodies import trips_of
from spa.graph.evaluate import attribute_of, has_subgraph
from spa.graph.facts import Facts, Program
from spa.graph.model import FLOW, Node
from spa.graph.normalize import captured_names, unused
from spa.graph.scopes import is_open, states_of

PRODUCTS = ("Conv", "MatMul", "Gemm", "Einsum", "Attention", "LSTM", "GRU", "RNN", "MoE")
"""An operator with one of these in its name multiplies."""

Border = tuple[str, list[tuple[str, int]], list[str], dict[str, Any]]
"""Operation, inputs with their slots, outputs, attributes."""


@dataclass(frozen=True)
class Nodes:
    """The nodes of the main graph, those of bodies and borders, and all in the order they run."""

    main: tuple[Node, ...]
    inner: tuple[Node, ...]
    order: tuple[Node, ...]


def nodes_of(program: Program, facts: Facts) -> Nodes:
    """Every node of a program; `facts` tell how often bodies run."""
    maker = _Maker(program, facts)
    protos = [step.node for step in program.steps]
    main = maker.all(protos, 1.0, range(len(protos)))
    if not maker.inner:
        return Nodes(main, (), main)
    return Nodes(main, tuple(maker.inner), tuple(_in_order(main)))


def _in_order(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        if not node.bodies:
            yield node
            continue
        yield from node.before
        for inner in node.bodies.values():
            yield from _in_order(inner)
        yield from node.after


@dataclass
class _Maker:
    program: Program
    facts: Facts
    inner: list[Node] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.first = len(self.program.steps)
        self.opset = self.program.opsets.get("", 1)

    def all(self, protos: Sequence[NodeProto], times: float, numbers: range) -> tuple[Node, ...]:
        """Nodes that run `times` per inference, with their numbers."""
        return tuple([self._one(p, i, times) for p, i in zip(protos, numbers, strict=True)])

    def _one(self, proto: NodeProto, index: int, times: float) -> Node:
        first = next((name for name in proto.output if name), "")
        name = self._unique(proto.name or f"{proto.op_type}:{first}")
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        more: dict[str, Any] = {}
        if has_subgraph(proto):
            more["captured"] = captured_names(proto)
            if is_open(proto, self.opset):
                more |= self._opened(proto, name, times)
        return Node(
            index=index,
            op=proto.op_type,
            domain=domain,
            version=self.program.opsets.get(domain, 1),
            name=name,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attrs=MappingProxyType({a.name: self._python(a) for a in proto.attribute}),
            times=times,
            **more,
        )

    def _python(self, attribute: AttributeProto) -> Any:
        """An attribute as int, float, str, list, array or GraphProto."""
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return _text(value)
        if attribute.type == AttributeProto.STRINGS:
            return [_text(item) for item in value]
        if attribute.type == AttributeProto.TENSOR:
            return self.program.consts.decoded(value)
        if attribute.type == AttributeProto.TENSORS:
            return [self.program.consts.decoded(item) for item in value]
        if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
            return list(value)
        return value

    def _unique(self, name: str) -> str:
        unique = unused(name, self.taken, "#")
        self.taken.add(unique)
        return unique

    def _opened(self, proto: NodeProto, name: str, times: float) -> dict[str, Any]:
        """Bodies and borders of an If, Loop or Scan."""
        bodies = {a.name: a.g for a in proto.attribute if a.type == AttributeProto.GRAPH}
        run = self._times(proto, bodies)
        before, after = {"If": _if, "Loop": _loop, "Scan": _scan}[proto.op_type](proto, bodies)
        made: dict[str, Any] = {"before": self._borders(before, proto, name, times)}
        made["bodies"] = {}
        for key, body in bodies.items():
            numbers = self._reserve(len(body.node))
            inner = self.all(body.node, times * run[key], numbers)
            for node in inner:
                self.inner[node.index - self.first] = node
            made["bodies"][key] = inner
        made["after"] = self._borders(after, proto, name, times)
        return made

    def _reserve(self, count: int) -> range:
        """Numbers for nodes that are not made yet."""
        begin = self.first + len(self.inner)
        self.inner += [None] * count  # type: ignore[list-item]
        return range(begin, begin + count)

    def _borders(
        self, borders: Sequence[Border], proto: NodeProto, name: str, times: float
    ) -> tuple[Node, ...]:
        made = []
        for (op, inputs, outputs, attrs), index in zip(
            borders, self._reserve(len(borders)), strict=True
        ):
            node = Node(
                index=index,
                op=f"{proto.op_type} {op}",
                domain=FLOW,
                version=self.opset,
                name=name,
                inputs=tuple([n for n, _ in inputs]),
                outputs=tuple(outputs),
                attrs=attrs,
                slots=tuple([slot for _, slot in inputs]),
                times=times,
            )
            self.inner[index - self.first] = node
            made.append(node)
        return tuple(made)

    def _times(self, proto: NodeProto, bodies: Mapping[str, GraphProto]) -> dict[str, float]:
        """How often each body runs; the branches of an If that multiply share one run."""
        if proto.op_type == "If":
            working = [key for key, body in bodies.items() if _multiplies(body)]
            return {key: 1.0 / max(len(working), 1) if key in working else 1.0 for key in bodies}
        return dict.fromkeys(bodies, float(self._steps(proto)))

    def _steps(self, proto: NodeProto) -> int:
        """The steps of a Scan or Loop, 1 where nobody knows."""
        if proto.op_type == "Loop":
            trips = trips_of(proto, self.program, self.facts)
            return max(1, trips or 1)
        shape = self.facts.shape(proto.input[-1]) if len(proto.input) > states_of(proto) else None
        inner = self.facts.inner.get(proto.input[-1]) if proto.input else None
        if shape is None and inner is not None and inner.HasField("tensor_type"):
            shape = tuple(dim.dim_value for dim in inner.tensor_type.shape.dim)
        axes = attribute_of(proto, "scan_input_axes")
        axis = axes[-1] if axes else 0
        return max(1, shape[axis]) if shape and -len(shape) <= axis < len(shape) else 1


def ends_by_data(node: Node) -> bool:
    """Whether data say how often a body runs."""
    return node.op == "Loop" and len(node.inputs) > 1 and bool(node.inputs[1])


def branches_of(node: NodeProto) -> list[GraphProto]:
    """The bodies of an If, of which one runs."""
    return [a.g for a in node.attribute] if node.op_type == "If" and not node.domain else []


def _multiplies(body: GraphProto) -> bool:
    return any(
        any(word in node.op_type for word in PRODUCTS)
        or any(_multiplies(a.g) for a in node.attribute if a.type == AttributeProto.GRAPH)
        for node in body.node
    )


def _if(proto: NodeProto, bodies: Mapping[str, GraphProto]) -> tuple[list[Border], list[Border]]:
    sides = [[info.name for info in bodies[f"{word}_branch"].output] for word in ("then", "else")]
    met: list[Border] = [
        ("branches", [(one, -1), (other, -1)], [name], {})
        for one, other, name in zip(*sides, proto.output, strict=False)
    ]
    return [("condition", [(proto.input[0], 0)], [], {})], met


def _loop(proto: NodeProto, bodies: Mapping[str, GraphProto]) -> tuple[list[Border], list[Border]]:
    body = bodies["body"]
    states = states_of(proto)
    steering = [(name, k) for k, name in enumerate(proto.input[:2]) if name]
    told = [info.name for info in body.input[:2]]
    before: list[Border] = [("condition", steering, told, {})]
    before += _entering(proto, body, 2, states)
    after: list[Border] = [("condition", [(body.output[0].name, -1)], [], {})]
    after += _leaving(proto, body, 2, 1, states)
    after += [
        ("stack", [(info.name, -1)], [name], {"axis": 0})
        for info, name in zip(body.output[1 + states :], proto.output[states:], strict=False)
    ]
    return before, after


def _scan(proto: NodeProto, bodies: Mapping[str, GraphProto]) -> tuple[list[Border], list[Border]]:
    body = bodies["body"]
    states = states_of(proto)
    before = _entering(proto, body, 0, states)
    axes = attribute_of(proto, "scan_input_axes") or [0] * (len(proto.input) - states)
    before += [
        ("slice", [(name, k)], [body.input[k].name], {"axis": axis})
        for k, (name, axis) in enumerate(zip(proto.input[states:], axes, strict=True), states)
    ]
    after = _leaving(proto, body, 0, 0, states)
    stacked = body.output[states:]
    axes = attribute_of(proto, "scan_output_axes") or [0] * len(stacked)
    after += [
        ("stack", [(info.name, -1)], [name], {"axis": axis})
        for info, name, axis in zip(stacked, proto.output[states:], axes, strict=False)
    ]
    return before, after


def _entering(proto: NodeProto, body: GraphProto, front: int, states: int) -> list[Border]:
    return [
        ("state", [(proto.input[front + k], front + k)], [body.input[front + k].name], {})
        for k in range(states)
    ]


def _leaving(
    proto: NodeProto, body: GraphProto, front: int, back: int, states: int
) -> list[Border]:
    finals = [*proto.output[:states], *[""] * states]
    return [
        (
            "state again",
            [(body.input[front + k].name, -1), (body.output[back + k].name, -1)],
            [finals[k]],
            {},
        )
        for k in range(states)
    ]


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
