"""What crosses the borders of bodies: states, slices and stacks, and where two branches meet.

A state is the same set of channels before, in and after every step, so what a step hands on is tied
to what it was given.  Inside a body the rules of its operators do the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from spa import labels
from spa.graph.model import FLOW
from spa.labels import Image
from spa.rules.meet import meet, still, wide_axes
from spa.trace import NOTES, RULES, Op, Ruling

STEPS = "scanned step by step along this axis"

NOTES["", "If"] = "ruled", "what branches make in each other's place goes together"
NOTES["", "Loop"] = NOTES["", "Scan"] = "ruled", "a state goes from all steps at once"


def border(*names: str) -> Callable[[Ruling], Ruling]:
    """Register the rule of what happens at a border; no file has such operators."""

    def add(function: Ruling) -> Ruling:
        for name in names:
            RULES[FLOW, name] = function
        return function

    return add


@border("If condition", "Loop condition")
def condition(op: Op, *_: Image) -> list[Image]:
    still(op, *range(len(op.x)), reason="decides what runs")
    return op.all_frozen()


@border("Loop state", "Scan state")
def state(op: Op, *_: Image) -> Image:  # a state before the first step
    return op.like(op.operand(0))


@border("Loop state again", "Scan state again")
def state_again(op: Op, *_: Image) -> Image:  # a state before a step, the same after it
    return _met(op)


@border("If branches")
def branches(op: Op, *_: Image) -> Image:  # what either branch makes
    return _met(op)


def _met(op: Op) -> Image:
    """Either of two tensors: each stays whole where the other has no channels."""
    images = [op.operand(0), op.operand(1)]
    shape = images[0].shape
    if images[1].shape != shape:
        raise ValueError(f"{images[1].shape} is not {shape}")
    return Image(shape, meet(op, images, wide_axes(op, [shape, shape])))


@border("Scan slice")
def slice_along(op: Op, *_: Image) -> Image:  # t a b -> a b
    rank = len(op.shape(0))
    axis = int(op.attr("axis", 0)) % rank
    rest = [a for a in range(rank) if a != axis]
    x = op.only(op.operand(0, rest), *rest, reason=STEPS)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return Image(shape, labels.placed(x.maps, lambda a: a - (a > axis), rank - 1))


@border("Loop stack", "Scan stack")
def stack(op: Op, *_: Image) -> Image:  # a b, every step -> t a b
    x, shape = op.operand(0), op.out()
    axis = int(op.attr("axis", 0)) % len(shape)
    return Image(shape, labels.placed(x.maps, lambda a: a + (a >= axis), len(shape)))
