"""Mixtures of experts in one operator: every expert has hidden channels of its own."""

from __future__ import annotations

from math import prod

from spa import labels
from spa.labels import Ids, Image, Shape
from spa.rules.contraction import of_experts
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import MICROSOFT, Op, rule

INTERLEAVED = 1
STORED = "the weights of experts are computed"


@rule("MoE", domain=MICROSOFT, note="the experts themselves are picked by number, and stay")
def moe(op: Op, x: Image, *_: Image) -> Image:  # n i, n e, e h i, e h, e i h, e i -> n i
    still(op, 1, reason="experts are picked by number")
    if not all(op.is_const(i) for i in range(2, 8) if op.has(i)):
        still(op, 0, *range(2, 8), reason=STORED)
        return op.frozen()
    rank, (count, made, hidden) = len(x.shape), op.shape(4)
    read = op.along(x, rank - 1)
    times = prod(x.shape[:-1]) * op.attr("k", 1) / count  # each token meets k experts
    parts = op.shape(2)[1] // max(hidden, 1)
    view, axis = _view(count, parts, hidden, op.attr("swiglu_fusion", 0) == INTERLEAVED)
    full = (*view, len(read))
    columns = labels.lay(read, (3,), 4)
    inner = op.param(2, full, times=times, makes=(0, axis), reads=columns)[0].dense
    # the output has the size of the input, which the operator takes for granted
    rows, inside = labels.lay(read, (1,), 3), labels.lay(inner, (0, 2), 3)
    op.param(4, (count, made, hidden), times=times, makes=rows, reads=inside)
    _more(op, inner, read, view, axis, times)
    if op.has(5):
        op.param(5, (count, made), scales=labels.lay(read, (1,), 2))
    return op.shown(read, rank - 1)


def _view(count: int, parts: int, hidden: int, interleaved: bool) -> tuple[Shape, int]:
    """How gates and what they gate lie in the first weight, and the axis of hidden channels."""
    if interleaved and parts > 1:
        return (count, hidden, parts), 1
    return (count, parts, hidden), 2


def _more(op: Op, inner: Ids, read: Ids, view: Shape, axis: int, times: float) -> None:
    """Biases of the hidden channels, and a third weight that makes them too."""
    if op.has(3):
        op.param(3, view, scales=labels.lay(inner, (0, axis), 3))
    if op.has(6):
        rows, columns = labels.lay(inner, (0, 1), 3), labels.lay(read, (2,), 3)
        op.param(6, (*inner.shape, len(read)), times=times, makes=rows, reads=columns)
    if op.has(7):
        op.param(7, inner.shape, scales=labels.lay(inner, (0, 1), 2))


trait("MoE", domain=MICROSOFT, macs=of_experts)
