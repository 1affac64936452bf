"""Neutral operators: what stands in for an operator that takes a statistic over channels.

LayerNormalization over channels of which some are gone is not exactly what it was, so a pruned
transformer cannot equal its masked original.  With every such operator replaced, in both models, by
one that works element by element, it must (`spa.validate.neutral`).

One is a function of a node and the room around it to the steps that take the node's place, or to
None where somebody uses the statistic itself, which no other operator makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Attributes, Node


@dataclass(frozen=True)
class Step:
    """A node to be made: operator, inputs, outputs, attributes, domain."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attributes = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True)
class Room:
    """Where a neutral operator is placed: the version of ai.onnx, what is read, and constants."""

    version: int
    read: frozenset[str]
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def store(self, name: str, value: int | Sequence[int]) -> str:
        """A constant of int64; its name."""
        self.constants[name] = np.array(value, np.int64)
        return name


BOUND = "Tanh"  # what keeps values bounded, element by element
Neutral = Callable[[Node, Room], "list[Step] | None"]


def bounded(node: Node, _: Room) -> list[Step] | None:
    """Tanh, which keeps values bounded however deep the model is."""
    return None if any(node.outputs[1:]) else [Step(BOUND, node.inputs[:1], node.outputs[:1])]


def affine(node: Node, _: Room) -> list[Step] | None:
    """Tanh, then the node's own scale and bias."""
    if any(node.outputs[1:]):
        return None
    scale, bias = (*node.inputs[1:3], "", "")[:2]
    return _affine(node.inputs[0], scale, bias, node.outputs[0])


def _affine(source: str, scale: str, bias: str, target: str) -> list[Step]:
    steps: list[tuple[str, tuple[str, ...]]] = [(BOUND, (source,))]
    for op, operand in (("Mul", scale), ("Add", bias)):
        if operand:
            steps.append((op, (f"{target}__t{len(steps) - 1}", operand)))
    outputs = [*(f"{target}__t{k}" for k in range(len(steps) - 1)), target]
    return [Step(*step, (made,)) for step, made in zip(steps, outputs, strict=True)]


def skipped(node: Node, _: Room) -> list[Step] | None:
    """The sum that it starts with, which may be an output too, then as `affine`."""
    source, skip, scale, beta, bias = (*node.inputs, "", "")[:5]
    return _skipped(node, (source, skip, bias), scale, beta)


def skipped_without_shift(node: Node, _: Room) -> list[Step] | None:
    """As `skipped`, of a norm that adds nothing afterwards."""
    source, skip, scale, bias = (*node.inputs, "")[:4]
    return _skipped(node, (source, skip, bias), scale, "")


def _skipped(
    node: Node, summands: tuple[str, str, str], scale: str, beta: str
) -> list[Step] | None:
    if any(node.outputs[1:3]):
        return None
    source, skip, bias = summands
    total = (*node.outputs[3:], "")[0] or f"{node.outputs[0]}__sum"
    names = [f"{total}__s", total] if bias else [total]
    parts = [Step("Add", (source, skip), (names[0],))]
    if bias:
        parts.append(Step("Add", (names[0], bias), (names[1],)))
    return parts + _affine(total, scale, beta, node.outputs[0])


def embedded(node: Node, room: Room) -> list[Step] | None:
    """The sum of rows of its tables, of which the places give the first, then as `affine`."""
    return _embedded(node.inputs, node.outputs, room)


def _embedded(inputs: tuple[str, ...], outputs: tuple[str, ...], room: Room) -> list[Step] | None:
    if not room.read.isdisjoint(outputs[1:2]):
        return None  # somebody uses the lengths it finds
    first = room.store(f"{outputs[0]}__first", 0)
    rows = zip(inputs[2:5], (inputs[0], first, inputs[1]), strict=True)
    total = (*outputs[2:], "")[0] or f"{outputs[0]}__sum"
    parts = [
        Step("Gather", row, (f"{total}__r{k}",)) for k, row in enumerate(r for r in rows if r[0])
    ]
    parts.append(Step("Sum", tuple(p.outputs[0] for p in parts), (total,)))
    return parts + _affine(total, inputs[5], inputs[6], outputs[0])


def bounded_bytes(node: Node, _: Room) -> list[Step] | None:
    """Tanh of what the bytes stand for, in bytes again."""
    return _in_floats(node, lambda made, name: Step(BOUND, made, (name,)))


def _in_floats(node: Node, inner: Callable[[tuple[str, ...], str], Step]) -> list[Step]:
    """A step over what bytes stand for, in bytes again: `x, scale, zero, scale, zero`."""
    x, scale, zero, *after = node.inputs
    made, name = f"{node.outputs[0]}__float", f"{node.outputs[0]}__t"
    return [
        Step("DequantizeLinear", (x, scale, *([zero] if zero else [])), (made,)),
        inner((made,), name),
        Step("QuantizeLinear", (name, *after), node.outputs[:1]),
    ]


def embedded_bytes(node: Node, room: Room) -> list[Step] | None:
    """As `embedded`, where tables, scale and bias are bytes: what these stand for comes first."""
    target, inputs = node.outputs[0], list(node.inputs)
    first = []
    for i in range(2, 7):
        if inputs[i]:
            name = f"{target}__whole{i}"
            given = inputs[i], inputs[i + 6], inputs[i + 11]
            first.append(Step("DequantizeLinear", given, (name,)))
            inputs[i] = name
    rest = _embedded((*inputs[:7], ""), node.outputs, room)
    return None if rest is None else [*first, *rest]


def summed(node: Node, room: Room) -> list[Step] | None:
    """The same reduction as a sum, which does not see zeros.

    From opset 13 ReduceSum takes its axes as an input.
    """
    return [_sum(node, node.inputs, node.outputs[0], room)]


def summed_bytes(node: Node, room: Room) -> list[Step] | None:
    """As `summed`, of what the bytes stand for, in bytes again."""
    return _in_floats(node, lambda made, name: _sum(node, made, name, room))


def _sum(node: Node, inputs: tuple[str, ...], target: str, room: Room) -> Step:
    attrs = dict(node.attrs)
    if room.version >= 13 and "axes" in attrs:
        inputs = (*inputs, room.store(f"{node.outputs[0]}__axes", attrs.pop("axes")))
    return Step("ReduceSum", inputs, (target,), attrs)


def pooled(node: Node, _: Room) -> list[Step] | None:
    """The sum of what is pooled, without signs."""
    return [Step("GlobalLpPool", node.inputs, node.outputs, {"p": 1})]


def passed(node: Node, _: Room) -> list[Step] | None:
    """What goes in: each channel without its neighbours."""
    return [Step("Identity", node.inputs[:1], node.outputs)]
