"""Integer arithmetic: conversions let channels through, products of integers do not yet."""

from __future__ import annotations

from math import prod

import numpy as np

from spa import labels
from spa.labels import Image, Plane
from spa.rules.meet import apart
from spa.rules.registry import rule
from spa.trace.op import Op

INTEGERS = "a product of integers, whose zero is no zero"


@rule("QuantizeLinear", "DequantizeLinear", note="not with scales per block")
def convert(op: Op, *_: Image) -> Image:  # * c, c, c -> * c
    x = _tensor(op)
    rank = len(x.shape)
    if op.attr("block_size", 0) or len(op.shape(1)) > 1:
        for each in (x, *op.x[1:]):
            op.freeze(each, "scaled block by block")
        return op.rock()
    per_axis = op.decide(lambda: op.shape(1) not in ((), (1,)))
    if not per_axis:
        for scale in op.x[1:]:
            op.freeze(scale, "scales a whole tensor")
        return op.like(x)
    axis = op.axis(rank, 1)
    along = [q for p in x.over(axis) if (q := op.squash(p, (axis,))) is not None]
    for p in along[1:]:
        op.same(along[0].ids, p.ids)
    for i in (1, 2):
        if op.has(i):
            _scale(op, i, along[:1])
    return Image(x.shape, (*along[:1], *(p for p in x.planes if axis not in p.axes)))


def _tensor(op: Op) -> Image:
    """What is converted; a stored tensor makes labels along every axis on its own."""
    shape = op.shape(0)
    if not op.is_const(0):
        return op.operand(0)
    return apart(op, 0, *([a] for a in range(len(shape))), integers=True)


def _scale(op: Op, i: int, along: list[Plane]) -> None:
    """A scale or zero point per channel follows the channels."""
    if op.is_const(i):
        if along:
            op.param(i, op.shape(i), follows=labels.lay(along[0].dense, (0,), 1))
        return
    ids = op.along(op.operand(i), 0)
    op.same(ids, along[0].dense if along else np.zeros_like(ids), "scaled by a tensor of its own")


@rule("DynamicQuantizeLinear", note="channels that are gone would not widen its range")
def dynamic(op: Op, x: Image) -> list[Image]:  # * -> *, 1, 1
    return [op.like(x), op.rock(1), op.rock(2)]


def _integers(op: Op, weight: int, times: float) -> Image:
    for x in op.x:
        op.freeze(x, INTEGERS)
    if op.is_const(weight):
        op.param(weight, op.shape(weight), times=times)
    else:
        op.work(op.shape(weight), times)
    return op.rock()


@rule("ConvInteger", frozen=INTEGERS)
def conv_integer(op: Op, *_: Image) -> Image:
    return _integers(op, 1, float(op.out()[0] * prod(op.out()[2:])))


@rule("QLinearConv", frozen=INTEGERS)
def qlinear_conv(op: Op, *_: Image) -> Image:
    return _integers(op, 3, float(op.out()[0] * prod(op.out()[2:])))


@rule("MatMulInteger", frozen=INTEGERS)
def matmul_integer(op: Op, *_: Image) -> Image:
    return _integers(op, 1, _repeats(op, 1))


@rule("QLinearMatMul", frozen=INTEGERS)
def qlinear_matmul(op: Op, *_: Image) -> Image:
    return _integers(op, 3, _repeats(op, 3))


def _repeats(op: Op, weight: int) -> float:
    """How often a matrix product uses each element of its second operand."""
    work = prod(op.out()) * op.shape(0)[-1]
    return work / max(prod(op.shape(weight)), 1)
