"""Which quantised tensors may stay in floating point, so that gradients pass (straight through)."""

from __future__ import annotations

from functools import partial

from spa.torch.program import Program, Step


def soften(program: Program) -> None:
    """Let quantisers hand on whole numbers in floating point where only dequantisers read them.

    In between there may be operators that only move elements about.  What does not begin with a
    quantiser is marked, too; that does no harm.
    """
    readers: dict[int, list[tuple[Step, int]]] = {}
    for step in program.steps:
        for k, place in enumerate(step.ins):
            readers.setdefault(place, []).append((step, k))
        for body in step.bodies:
            soften(body)
    outer = {place for step in program.steps if step.bodies for place in step.ins}
    outer.update(program.outputs)
    soft = program.soft
    for step in reversed(program.steps):
        place = step.outs[0]
        mine = readers.get(place, [])
        if place in outer or not mine or not all(_passes(each, k, soft) for each, k in mine):
            continue
        if "soft" in step.operator.asks and isinstance(step.call, partial):
            step.soft = partial(step.call, soft=True)
            soft.add(place)
        elif step.operator.moves and len(step.outs) == 1:
            soft.add(place)


def _passes(step: Step, k: int, soft: set[int]) -> bool:
    if step.operator.function.__name__.startswith("dequantize"):
        return k == 0
    return step.operator.moves and k == 0 and step.outs[0] in soft
