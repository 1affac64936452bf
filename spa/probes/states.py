"""Inputs that a model hands on to itself: keys and values of earlier steps, buffers of a stream.

Only the model knows what belongs there, so it is run to fill them: what such an input has become
at the end of a run is given back to it, until nothing is left of the zeros it began with.

Which inputs these are is read off the graph: nothing is computed with one before something new is
put beside it or into it, or it is multiplied with what the model computes, as keys and values are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from spa import runtime
from spa.errors import ReadError
from spa.events import Counted, uncounted
from spa.graph.model import Graph, Node
from spa.probes.probe import FRESH, Array, Probe, Rows, Stream
from spa.rules import trait_of
from spa.runtime import Session

Ran = Callable[[Mapping[str, Array]], dict[str, Array]]
RANK = 3  # axes of a state at least; of keys and values that no output hands back, one more
CONTEXTS = 16  # different contents of a state to fit on, and as many to judge on
STEPS = 8  # runs at most that fill a state; what is new is repeated where they do not suffice
_FULL = 3  # runs, where a state keeps its size and nobody knows how much of it is new


@dataclass(frozen=True)
class State:
    """Which output holds a state after a run (None: none does), and the axis it grows along."""

    output: str | None
    axis: int | None


def states_of(graph: Graph) -> dict[str, State]:
    """The float inputs that are states."""
    found = {}
    for name in graph.inputs:
        shape = graph.shapes[name]
        if graph.dtypes[name].kind == "f" and len(shape) >= RANK:
            state = _state(graph, name)
            if state is not None and (state.output is not None or len(shape) > RANK):
                found[name] = state
    return found


def _state(graph: Graph, name: str) -> State | None:
    """What an input is handed back by; None if it is no state."""
    todo, seen = [(name, False)], {name}
    joined = multiplied = False
    while todo:
        tensor, fresh = todo.pop()
        for node in graph.readers.get(tensor, ()):
            like = trait_of(node)
            if like.only_shape or not node.outputs:
                continue
            joins = _joins(graph, node, tensor)
            holds = (like.carries and not like.chooses) or bool(node.slots)
            if not (joins or holds or fresh):
                if not _multiplies(graph, node, tensor):
                    return None
                multiplied = True
                continue
            joined = joined or joins
            if joins or holds:
                more = [out for out in node.outputs if out and out not in seen]
                seen.update(more)
                todo.extend((out, fresh or joins) for out in more)
    if not (joined or multiplied):
        return None
    for output in graph.outputs:
        if output in seen:
            known, axis = _grown(graph, name, output)
            if known:
                return State(output, axis)
    return State(None, None) if multiplied else None


def _joins(graph: Graph, node: Node, tensor: str) -> bool:
    """Whether a node puts something that the model computed beside a state or into it."""
    like = trait_of(node)
    if any(node.inputs[i : i + 1] == (tensor,) for i in like.past):
        return True
    if like.writes and node.inputs[0] == tensor:
        return True
    others = (name for name in node.inputs if name and name != tensor)
    return (like.writes or like.linear == "joins") and all(name in graph.made_by for name in others)


def _multiplies(graph: Graph, node: Node, tensor: str) -> bool:
    """Whether a node multiplies a state with what the model computes."""
    others = [name for name in node.inputs if name != tensor]
    how = trait_of(node).contracts
    if how is None or how.letters is None:
        return False
    return not any(name in graph.consts or name in graph.inputs for name in others)


def _grown(graph: Graph, name: str, output: str) -> tuple[bool, int | None]:
    """Whether an output is an input that may have grown along one axis, and that axis."""
    before: Sequence[int | str] = graph.shapes[name]
    after: Sequence[int | str] = graph.shapes.get(output, ())
    if not after:  # its size depends on a branch: go by what is declared
        symbols = graph.dynamic.get(name) or (None,) * len(before)
        before = [symbol or size for symbol, size in zip(symbols, before, strict=True)]
        info = next(info for info in graph.proto.graph.output if info.name == output)
        after = [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
    if len(before) != len(after) or graph.dtypes.get(output) != graph.dtypes[name]:
        return False, None
    grown = [axis for axis, size in enumerate(before) if after[axis] != size]
    return len(grown) < 2, grown[0] if grown else None


def filled(
    loaded: Session, probe: Probe, states: Mapping[str, State], counted: Counted = uncounted
) -> tuple[Probe, set[str]]:
    """`probe` with states that the model has filled, and which these are; runs are `counted`."""
    axes = {s.name: s.axis for s in probe.streams}
    mine = {
        name: state
        for name, state in states.items()
        if state.output is not None and axes[name] is not None
    }
    if not mine:
        return probe, set()
    done = counted(None, "runs")

    def ran(feeds: Mapping[str, Array]) -> dict[str, Array]:
        outputs = runtime.run(loaded, feeds)
        done()
        return outputs

    try:
        banks = [_bank(ran, probe, mine, first) for first in (0, FRESH)]
    except ReadError:
        return probe, set()
    contents = {name: np.concatenate([bank[name] for bank in banks]) for name in mine}
    good = {n for n, rows in contents.items() if np.isfinite(rows).all() and np.ptp(rows) > 0}
    return probe.redrawn({n: partial(_drawn, contents[n]) for n in good}), good


def _bank(ran: Ran, probe: Probe, states: Mapping[str, State], first: int) -> dict[str, Array]:
    """Contents of all states after some runs, `[CONTEXTS, ...]`."""
    size = probe.rows or CONTEXTS
    parts = [_ran(ran, probe, states, first + k, size) for k in range(0, CONTEXTS, size)]
    return {name: np.concatenate([part[name] for part in parts])[:CONTEXTS] for name in states}


def _ran(
    ran: Ran, probe: Probe, states: Mapping[str, State], first: int, size: int
) -> dict[str, Array]:
    """The states of `size` rows, after as many runs as fill them."""
    streams = {stream.name: stream for stream in probe.streams}
    held: dict[str, Array] = {}
    new = dict.fromkeys(states, 0)
    step = 0
    while step == 0 or step < min(STEPS, max(_wanted(states, streams, new, step), 1)):
        # What came before a row is other than the row itself.
        rows = [row + CONTEXTS * (step + 1) for row in range(first, first + size)]
        there = [row % (probe.available or row + 1) for row in rows]
        feeds = {s.name: s.array(there, rows[0] // size, None) for s in probe.streams}
        held = held or {name: np.zeros_like(feeds[name]) for name in states}
        outputs = ran(feeds | held)
        for name, state in states.items():
            held[name], grown = _last(outputs[str(state.output)], held[name], state.axis)
            new[name] += grown
        step += 1
    found = {}
    for name, state in states.items():
        axis = streams[name].axis
        assert axis is not None
        found[name] = np.moveaxis(_repeated(held[name], new[name], state.axis), axis, 0)
    return found


def _wanted(
    states: Mapping[str, State], streams: Mapping[str, Stream], new: Mapping[str, int], step: int
) -> int:
    """How many runs fill all states, going by how much of them is new after some."""
    several = [_FULL]
    for name, state in states.items():
        if state.axis is not None and new[name]:
            several.append(-(-streams[name].shape[state.axis] * step // new[name]))
    return max(several)


def _last(after: Array, before: Array, axis: int | None) -> tuple[Array, int]:
    """The latest part of a state, of its old size, and how much longer it had become."""
    if axis is None:
        return after, 0
    size = before.shape[axis]
    grown = after.shape[axis] - size
    if grown < 0:  # a state that was passed over: the model began anew
        return before, 0
    return np.take(after, range(grown, grown + size), axis), grown


def _repeated(held: Array, new: int, axis: int | None) -> Array:
    """A state whose old zeros, if there are any left, are repetitions of what is new."""
    if axis is None or not 0 < new < held.shape[axis]:
        return held
    size = held.shape[axis]
    return np.asarray(np.take(held, size - 1 - np.arange(size)[::-1] % new, axis))


def _drawn(contents: Array, rows: Rows, shape: tuple[int, ...]) -> Array:
    """Rows of a state: the contents in turn, others for rows to judge on."""
    numbers = np.asarray(rows)
    found = contents[numbers % CONTEXTS + CONTEXTS * (numbers >= FRESH)]
    for axis, size in enumerate(shape, 1):
        if found.shape[axis] != size:
            found = np.take(found, np.arange(size) % found.shape[axis], axis)
    return np.asarray(found)
