"""A graph made ready to run: every name is a place in a list, every attribute is bound."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from spa.errors import ReadError, first_line
from spa.torch.registry import ALL, Operator
from spa.torch.values import WIDER

FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What torch raises where inputs do not fit."""

Value: TypeAlias = "Tensor | list[Tensor] | None"
"""A tensor, a sequence of them, or what was left out."""


class Mode:
    """What a module's functions ask at every run.

    Attributes:
        training: as of `Module.train`.
        norms: "frozen", "train" or "batch".
        seen: how many batches each normalization has averaged over, by its place.
    """

    def __init__(self, norms: str) -> None:
        self.training, self.norms = False, norms
        self.seen: dict[int, int] = {}


@dataclass(eq=False)
class Step:
    """One node: which places it reads and writes.

    Attributes:
        call: takes the inputs by position.
        ins: places of inputs; 0 holds None.
        outs: places of outputs; 0 where nobody wants one.
        operator: whose it is.
        named: what an error calls the node.
        bodies: what it carries.
        soft: takes the place of `call` where only what undoes a quantiser sees the result.
    """

    call: Callable[..., object]
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    operator: Operator
    named: str
    bodies: tuple[Program, ...] = ()
    soft: Callable[..., object] | None = None


@dataclass(eq=False)
class Plan:
    """What to run, the places to look at in the end, and what nobody reads after each step."""

    rows: list[Row]
    want: tuple[int, ...]
    missing: str = ""


Row: TypeAlias = (
    "tuple[Callable[..., object], tuple[int, ...], int | tuple[int, ...], tuple[int, ...], Step]"
)


@dataclass(eq=False)
class Program:
    """The steps of one graph.

    Attributes:
        places: by name of a tensor, where it is kept.
        base: what is in every place before a run: constants, None elsewhere.
        live: constants that are parameters or buffers: place, the dict of the module that holds
            it, and the key there.
        inputs, outputs: places.
        outer: places of tensors of the enclosing graph, and where they go here.
        shorten: what takes kernels in the place of several steps; it gets the steps of a plan, and
            the places that must stay.
    """

    shorten: Callable[[list[Step], Collection[int]], list[Step]]
    places: dict[str, int] = field(default_factory=dict)
    base: list[Value] = field(default_factory=lambda: [None])
    live: list[tuple[int, dict[str, Tensor | None], str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    outer: list[tuple[int, int]] = field(default_factory=list)
    careful: bool = False
    narrow: bool = False
    plans: dict[object, Plan] = field(default_factory=dict)
    soft: set[int] = field(default_factory=set)
    reached: frozenset[int] = frozenset()

    def place(self, name: str) -> int:
        """Where a tensor is kept; a new place for a new name."""
        if not name:
            return 0
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = len(self.base)
            self.base.append(None)
        return found

    def set_careful(self, careful: bool) -> None:
        """Whether devices may meet."""
        self.careful = careful or self.narrow
        for step in self.steps:
            for body in step.bodies:
                body.set_careful(careful)

    def plan(self, want: tuple[int, ...], given: frozenset[int]) -> Plan:
        """What to run so that all of `want` is there, where `given` is there already."""
        key = want, given
        found = self.plans.get(key)
        if found is None:
            found = self.plans[key] = self._plan(want, given)
        return found

    def _plan(self, want: tuple[int, ...], given: frozenset[int]) -> Plan:
        needed, kept = set(want) - given, set(want)
        chosen: list[Step] = []
        for step in reversed(self.steps):
            if needed.intersection(step.outs) - {0}:
                chosen.append(step)
                needed.update(i for i in step.ins if i not in given)
        last: dict[int, int] = {}
        rows: list[Row] = []
        chosen.reverse()
        chosen = self.shorten(chosen, kept | given)
        for k, step in enumerate(chosen):
            last.update((i, k) for i in (*step.ins, *step.outs))
        constants = {k for k, value in enumerate(self.base) if value is not None}
        constants.update(place for place, _, _ in self.live)
        freed: dict[int, list[int]] = {}
        for place, k in last.items():
            if place and place not in kept and place not in constants:
                freed.setdefault(k, []).append(place)
        seen = bool(kept & self.soft)
        for k, step in enumerate(chosen):
            outs = step.outs[0] if len(step.outs) == 1 else step.outs
            call = step.call if seen or step.soft is None else step.soft
            rows.append((call, step.ins, outs, tuple(freed.get(k, ())), step))
        gaps = [i for i in self.inputs if i in needed and i not in given and i not in constants]
        names = {place: name for name, place in self.places.items()} if gaps else {}
        return Plan(rows, want, names[gaps[0]] if gaps else "")

    def run(self, given: Iterable[tuple[int, Value]], plan: Plan) -> list[Value]:
        """Run a plan.

        Args:
            given: places and what to put there.
            plan: of this program.
        """
        env = self.base.copy()
        for place, held, key in self.live:
            env[place] = held[key]
        for place, value in given:
            env[place] = value
        _run(env, plan, self.careful)
        return [env[place] for place in plan.want]


def _run(env: list[Value], plan: Plan, careful: bool) -> None:
    """Run the rows of a plan; `careful` where devices or precisions may meet."""
    step = None
    try:
        for call, ins, outs, freed, step in plan.rows:
            values = [env[i] for i in ins]
            made: Any = _one(call, values, step.operator) if careful else call(*values)
            if isinstance(outs, int):
                env[outs] = made
            else:
                for place, value in zip(outs, made):  # noqa: B905
                    env[place] = value
                env[0] = None
            for place in freed:
                env[place] = None
    except FAILURES as error:
        raise _failed(step, error) from error


def _one(call: Callable[..., object], values: list[Value], operator: Operator) -> object:
    """One call: what steers stays on the CPU, the rest follows the device of the data.

    On the CPU, arithmetic in half precision is done in float32, and its results are rounded.
    """
    tensors = [v for k, v in enumerate(values) if isinstance(v, Tensor) and k not in operator.host]
    away = next((v.device for v in tensors if v.device.type != "cpu"), None)
    if away is not None:
        values = [
            v.to(away)
            if isinstance(v, Tensor) and v.device != away and k not in operator.host
            else v
            for k, v in enumerate(values)
        ]
        return call(*values)
    narrow = next((v.dtype for v in tensors if v.dtype in WIDER), None)
    if narrow is None or operator.moves:
        return call(*values)
    carrier = WIDER[narrow]
    wide = [
        v.to(WIDER[v.dtype]) if isinstance(v, Tensor) and v.dtype in WIDER else v for v in values
    ]
    made = call(*wide)
    if operator.steer is ALL:  # truth or places, which are in a type of their own
        return made
    if isinstance(made, Tensor):
        return made.to(narrow) if made.dtype == carrier else made
    several = list(cast("Sequence[Value]", made))
    for k, v in enumerate(several):  # a second integer is a place or a count
        if isinstance(v, Tensor) and v.dtype == carrier and (k == 0 or v.is_floating_point()):
            several[k] = v.to(narrow)
    return several


def _failed(step: Step | None, error: Exception) -> Exception:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return error
    named = step.named if step is not None else "a node"
    return ReadError(
        f"{named} cannot be computed on these inputs ({first_line(error)}); "
        "check their shapes and types against the model's"
    )
