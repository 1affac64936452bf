"""Formulas that torch has a kernel for, spelt out in a file: x (1 + erf(x c)) / 2.

A plan takes the kernel where nobody asks for what lies between.  The constants of a formula are
tensors of the module that anybody may change or train; so they are looked at whenever they have
changed, and where they are not those of the formula it is computed as the file has it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.program import Step

WANTED = (math.sqrt(0.5), 1.0, 0.5)


class Gelu:
    """Calls the kernel, or the formula.

    Args:
        divides: whether x is divided by the first constant, not multiplied.
    """

    def __init__(self, divides: bool) -> None:
        self.divides = divides
        self.seen: list[tuple[Tensor, int, bool]] = []
        self.known = False

    def __call__(self, x: Tensor, inner: Tensor, one: Tensor, half: Tensor) -> Tensor:
        """The activation of x, with the constants in the order of the formula."""
        constants = inner, one, half
        if not self.seen or not all(
            c is known and c._version == version and c.requires_grad == learns
            for c, (known, version, learns) in zip(constants, self.seen, strict=True)
        ):
            self.seen = [(c, c._version, c.requires_grad) for c in constants]
            self.known = self._known(inner, one, half)
        if self.known:
            return functional.gelu(x)
        within = x / inner if self.divides else x * inner
        return x * (one + torch.erf(within)) * half

    def _known(self, inner: Tensor, one: Tensor, half: Tensor) -> bool:
        if any(c.requires_grad or c.numel() > 1 for c in (inner, one, half)):
            return False
        try:
            first = float(inner.item())
            found = (1 / first if self.divides and first else first, float(one), float(half))
        except RuntimeError:  # a tensor of `torch.func`, which stands for many
            return False
        return all(abs(a - b) < 1e-3 * b for a, b in zip(found, WANTED, strict=True))


class Reads:
    """Who makes and who reads the places of a plan."""

    def __init__(self, steps: Sequence[Step], kept: Collection[int]) -> None:
        self.maker: dict[int, Step] = {o: step for step in steps for o in step.outs}
        self.kept = kept
        self.readers: dict[int, list[Step]] = {}
        for step in steps:
            for place in step.ins:
                self.readers.setdefault(place, []).append(step)

    def only(self, step: Step, function: object) -> Step | None:
        """The one reader of a step, if it is a function of two and nobody else looks."""
        place = step.outs[0]
        found = self.readers.get(place, [])
        if place in self.kept or len(found) != 1:
            return None
        return found[0] if is_a(found[0], function) else None

    def made(self, place: int, *functions: object) -> Step | None:
        """What makes a place, if it is one of some functions, and is read once."""
        step = self.maker.get(place)
        if step is None or place in self.kept or len(self.readers[place]) != 1:
            return None
        return step if any(is_a(step, f) for f in functions) else None


def is_a(step: Step, function: object) -> bool:
    """Whether a step calls a function, and nothing but that."""
    return step.operator.function is function and step.call is function


def quotient() -> object:
    """The function that divides; it is registered with all the others."""
    from spa.torch.ops.pointwise import div

    return div


def other(step: Step, place: int) -> int:
    """The other input of two."""
    return step.ins[1] if step.ins[0] == place else step.ins[0]


def fused(steps: list[Step], kept: Collection[int]) -> list[Step]:
    """The steps of a plan, with kernels in the place of formulas.

    Args:
        steps: in the order they run.
        kept: places that are looked at in the end, or given from outside.
    """
    if not any(is_a(step, torch.erf) for step in steps):
        return steps
    divide = quotient()
    reads = Reads(steps, kept)
    gone: set[int] = set()
    new: dict[int, Step] = {}
    for step in steps:
        found = _gelu(step, reads, divide) if is_a(step, torch.erf) else None
        if found is not None:
            last, made, parts = found
            new[id(last)] = made
            gone.update(map(id, parts))
    if not new:
        return steps
    return [new.get(id(step), step) for step in steps if id(step) not in gone or id(step) in new]


def _gelu(step: Step, reads: Reads, divide: object) -> tuple[Step, Step, list[Step]] | None:
    """From an erf to the whole formula: its last step, what takes its place, and all its steps."""
    inside = reads.made(step.ins[0], divide, torch.mul)
    plus = reads.only(step, torch.add)
    if inside is None or plus is None:
        return None
    times = reads.only(plus, torch.mul)
    if times is None:
        return None
    x, inner = inside.ins
    one, beside = other(plus, step.outs[0]), other(times, plus.outs[0])
    parts = [inside, step, plus, times]
    divides = is_a(inside, divide)
    if beside in inside.ins[: 1 if divides else 2]:  # x (1 + erf), then one half of it
        after = reads.only(times, torch.mul)
        if after is None:
            return None
        x, inner = beside, other(inside, beside)
        last, half = after, other(after, times.outs[0])
        parts.append(after)
    else:  # one half of x first
        scaled = reads.made(beside, torch.mul)
        near = [] if scaled is None else [p for p in inside.ins if p in scaled.ins]
        if scaled is None or not near or (divides and near[0] != x):
            return None
        x, inner = near[0], other(inside, near[0])
        last, half = times, other(scaled, x)
        parts.append(scaled)
    call = Gelu(divides)
    made = Step(call, (x, inner, one, half), last.outs, last.operator, last.named)
    return last, made, parts
