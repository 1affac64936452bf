"""Conversions between floating-point numbers and integers let channels through."""

from __future__ import annotations

import numpy as np

from spa import labels
from spa.labels import Image, IndexMap
from spa.rules.meet import apart, still
from spa.rules.normalize import channels
from spa.rules.traits import trait
from spa.trace import MICROSOFT, Op, rule

BLOCKS = "a block of quantised numbers shares a scale"


@rule("QuantizeLinear", "DequantizeLinear", note="scaled by block: blocks go as a whole")
def convert(op: Op, *_: Image) -> Image:  # * c, c, c -> * c
    x = _tensor(op)
    rank = len(x.shape)
    if len(op.shape(1)) > 1:
        return _by_block(op, x)
    per_axis = op.decide(lambda: op.shape(1) not in ((), (1,)))
    if not per_axis:
        for scale in op.x[1:]:
            op.freeze(scale, "scales a whole tensor")
        return op.like(x)
    axis = op.axis(rank, 1)
    along, others = channels(op, x, axis)
    for i in (1, 2):
        if op.has(i):
            _scale(op, i, along)
    return Image(x.shape, (*along, *others))


def _tensor(op: Op) -> Image:
    """What is converted; a stored tensor makes labels along every axis on its own."""
    shape = op.shape(0)
    if not op.is_const(0):
        return op.operand(0)
    return apart(op, 0, *([a] for a in range(len(shape))), integers=True)


def _scale(op: Op, i: int, along: list[IndexMap]) -> None:
    """A scale or zero point per channel follows the channels."""
    if op.is_const(i):
        if along:
            op.param(i, op.shape(i), follows=labels.lay(along[0].dense, (0,), 1))
        return
    ids = op.along(op.operand(i), 0)
    op.same(ids, along[0].dense if along else np.zeros_like(ids), "scaled by a tensor of its own")


def _by_block(op: Op, x: Image) -> Image:
    """Scales as long as the tensor, but one for a whole block along one axis."""
    axis, given = op.axis(len(x.shape), 1), [i for i in (1, 2) if op.has(i)]
    size, count = x.shape[axis], op.shape(1)[axis]
    block = op.decide(lambda: op.attr("block_size", 0) or size // max(count, 1))
    if not all(op.is_const(i) for i in given) or size != block * count:
        still(op, 0, *given, reason=BLOCKS)
        for p in x.maps:
            op.freeze(p, BLOCKS)
        return op.frozen()
    x = op.only(x, *range(len(x.shape)))
    kept: list[IndexMap] = []
    coarse: dict[str, IndexMap] = {}
    for p in x.maps:
        q = op.squash(p, p.axes[-1:]) if axis in p.axes else p
        if q is None:
            continue
        kept.append(q)
        if q.axes == (axis,):
            lanes = q.dense.reshape(count, block)
            op.same(lanes[:, :1], lanes, BLOCKS)
            q = labels.lay(lanes[:, 0], (axis,), len(x.shape))
        elif axis in q.axes:
            op.freeze(q, BLOCKS)
        coarse[f"follows{len(coarse)}"] = q
    for i in given if coarse else ():
        op.param(i, op.shape(i), times=0.0, **coarse)
    return Image(x.shape, tuple(kept))


@rule("DynamicQuantizeLinear", note="channels that are gone would not widen its range")
def dynamic(op: Op, x: Image) -> list[Image]:  # * -> *, 1, 1
    return [op.like(x), op.frozen(1), op.frozen(2)]


for domain in ("", MICROSOFT):
    trait("QuantizeLinear", domain=domain, decides=(0,), zero=2, rounds=True, quantizes=True)
    trait("DequantizeLinear", domain=domain, dequantizes=True, quantised=((0, 1, 2),), summed=(0,))
trait("DynamicQuantizeLinear", decides=(0,), zero_made=2)
