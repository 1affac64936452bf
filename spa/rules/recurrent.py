"""Recurrent layers: channels may be cut from what they read; their own state stays whole."""

from __future__ import annotations

from math import prod

from spa import labels
from spa.labels import Image
from spa.rules.meet import still
from spa.rules.registry import rule
from spa.trace.op import Op


@rule("LSTM", "GRU", "RNN", note="what it reads may be cut; its own state stays whole")
def recurrent(op: Op, x: Image, *_: Image) -> list[Image]:  # t n i, d (g h) i, d (g h) h -> t d n h
    still(op, *range(3, len(op.x)), reason="state of a recurrent layer")
    read = op.along(x, 2, "steps of a recurrent layer")
    times = float(prod(x.shape[:2]))
    computed = [i for i in (1, 2) if not op.is_const(i)]
    if op.is_const(1):
        op.param(1, op.shape(1), times=times, reads=labels.lay(read, (2,), 3))
    else:
        op.same(op.along(op.operand(1), 2), read, "its weight is computed")
    if op.is_const(2):
        op.param(2, op.shape(2), times=times)
    still(op, *computed[-1:] if 2 in computed else ())
    if computed:
        op.work((sum(prod(op.shape(i)) for i in computed),), times)
    return [op.rock(k) if op.node.outputs[k] else x for k in range(op.outputs)]
