"""Control flow and sequences: bodies run as often as the data say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spa.torch.program import Program, Value
from spa.torch.registry import ALL, op

Tensors = list[Tensor]


def ran(body: Program, outer: Sequence[Value], given: Sequence[Value]) -> list[Value]:
    """The outputs of a body."""
    feeds = [(place, outer[k]) for k, place in body.outer]
    feeds += zip(body.inputs, given, strict=True)
    plan = body.plan(body.outputs, frozenset(place for place, _ in feeds))
    return body.run(feeds, plan)


def _made(values: Sequence[Value], outputs: int) -> Value | tuple[Value, ...]:
    return values[0] if outputs == 1 else tuple(values[:outputs])


@op("If", moves=True)
def if_(
    condition: Tensor, *outer: Value, then_branch: Program, else_branch: Program, outputs: int
) -> Value | tuple[Value, ...]:
    body = then_branch if bool(condition.reshape(-1)[0]) else else_branch
    return _made(ran(body, outer, ()), outputs)


@op("Loop", moves=True)
def loop(*values: Value, body: Program, inputs: int, outputs: int) -> Value | tuple[Value, ...]:
    """States go round; what each turn makes is stacked."""
    given, outer = list(values[:inputs]), values[inputs:]
    most = None if given[0] is None else int(_one(given[0]).item())
    goes_on = True if len(given) < 2 or given[1] is None else bool(_one(given[1]))
    states = given[2:]
    stacked: list[list[Tensor]] = [[] for _ in body.outputs[1 + len(states) :]]
    turn = 0
    while goes_on and (most is None or turn < most):
        made = ran(body, outer, (torch.tensor(turn), torch.tensor(True), *states))
        goes_on = bool(_one(made[0]))
        states = made[1 : 1 + len(states)]
        for each, value in zip(stacked, made[1 + len(states) :], strict=True):
            each.append(_tensor(value))
        turn += 1
    rows = [torch.stack(each) if each else torch.zeros(0) for each in stacked]
    return _made([*states, *rows], outputs)


def _one(value: Value) -> Tensor:
    return _tensor(value).reshape(-1)[0]


def _tensor(value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError("a body hands on no tensor where one is wanted")
    return value


@op("Scan", since=9, moves=True)
def scan(
    *values: Value,
    body: Program,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    inputs: int,
    outputs: int,
) -> Value | tuple[Value, ...]:
    given, outer = values[:inputs], values[inputs:]
    number = inputs - num_scan_inputs
    states = list(given[:number])
    axes = scan_input_axes or [0] * num_scan_inputs
    backwards = scan_input_directions or [0] * num_scan_inputs
    walked = [_tensor(v).unbind(a) for v, a in zip(given[number:], axes, strict=True)]
    walked = [v[::-1] if back else v for v, back in zip(walked, backwards, strict=True)]
    stacked: list[list[Tensor]] = [[] for _ in body.outputs[number:]]
    for row in zip(*walked, strict=True):
        made = ran(body, outer, (*states, *row))
        states = made[:number]
        for each, value in zip(stacked, made[number:], strict=True):
            each.append(_tensor(value))
    along = scan_output_axes or [0] * len(stacked)
    turned = scan_output_directions or [0] * len(stacked)
    rows = [
        torch.stack(each[::-1] if back else each, axis)
        for each, axis, back in zip(stacked, along, turned, strict=True)
    ]
    return _made([*states, *rows], outputs)


@op("Scan", until=8, moves=True)
def scan_8(
    *values: Value,
    body: Program,
    num_scan_inputs: int,
    directions: Sequence[int] | None = None,
    inputs: int,
    outputs: int,
) -> Value | tuple[Value, ...]:
    """With a batch in front, and perhaps a length for each of its rows."""
    lengths, outer = values[0], values[inputs:]
    given = [_tensor(v) for v in values[1:inputs]]
    batch = given[0].shape[0]
    each: list[tuple[Value, ...]] = []
    for row in range(batch):
        mine = [v[row] for v in given]
        if lengths is not None:
            number = int(_tensor(lengths)[row])
            first = len(mine) - num_scan_inputs
            mine = [*mine[:first], *(v[:number] for v in mine[first:])]
        made = scan(
            *mine,
            *outer,
            body=body,
            num_scan_inputs=num_scan_inputs,
            scan_input_directions=directions,
            inputs=len(mine),
            outputs=max(2, outputs),
        )
        each.append(tuple(made))  # type: ignore[arg-type]
    columns = [torch.stack([_tensor(v) for v in column]) for column in zip(*each, strict=True)]
    return _made(columns, outputs)


@op("SequenceConstruct", moves=True)
def sequence_construct(*tensors: Tensor) -> Tensors:
    return list(tensors)


@op("SequenceEmpty", moves=True)
def sequence_empty(*, dtype: int = 1) -> Tensors:
    return []


@op("SequenceAt", steer=(1,), moves=True)
def sequence_at(sequence: Tensors, place: Tensor) -> Tensor:
    return sequence[int(place.item())]


@op("SequenceInsert", steer=(2,), moves=True)
def sequence_insert(sequence: Tensors, x: Tensor, place: Tensor | None = None) -> Tensors:
    at = len(sequence) if place is None else int(place.item())
    at = at + len(sequence) if at < 0 else at
    return [*sequence[:at], x, *sequence[at:]]


@op("SequenceErase", steer=(1,), moves=True)
def sequence_erase(sequence: Tensors, place: Tensor | None = None) -> Tensors:
    at = (-1 if place is None else int(place.item())) % len(sequence)
    return [*sequence[:at], *sequence[at + 1 :]]


@op("SequenceLength", steer=ALL, moves=True)
def sequence_length(sequence: Tensors) -> Tensor:
    return torch.tensor(len(sequence))


@op("SplitToSequence", host=(1,), moves=True)
def split_to_sequence(
    x: Tensor, split: Tensor | None = None, *, axis: int = 0, keepdims: int = 1
) -> Tensors:
    if split is None:
        parts = list(x.split(1, axis))
        return parts if keepdims else [p.squeeze(axis) for p in parts]
    return list(x.split(int(split.item()) if split.dim() == 0 else split.tolist(), axis))


@op("ConcatFromSequence", moves=True)
def concat_from_sequence(sequence: Tensors, *, axis: int, new_axis: int = 0) -> Tensor:
    return torch.stack(sequence, axis) if new_axis else torch.cat(sequence, axis)


@op("SequenceMap", moves=True)
def sequence_map(
    *values: Value, body: Program, inputs: int, outputs: int
) -> Value | tuple[Value, ...]:
    given, outer = values[:inputs], values[inputs:]
    number = len(given[0]) if isinstance(given[0], list) else 0
    made = [
        ran(body, outer, [v[k] if isinstance(v, list) else v for v in given]) for k in range(number)
    ]
    return _made([[_tensor(v) for v in column] for column in zip(*made, strict=True)], outputs)


@op("Optional", moves=True)
def optional(value: Value = None, *, type: object = None) -> Value:
    return value


@op("OptionalGetElement", moves=True)
def optional_get_element(value: Value) -> Value:
    return value


@op("OptionalHasElement", steer=ALL, moves=True)
def optional_has_element(value: Value = None) -> Tensor:
    return torch.tensor(value is not None)
