"""Operators that summarise axes: sums do not see a missing zero, means and maxima do."""

from __future__ import annotations

from collections.abc import Sequence

from spa import labels
from spa.labels import Image, IndexMap
from spa.rules import neutral
from spa.rules.meet import aligned, still
from spa.rules.traits import trait
from spa.trace import Op, rule

EXACT = ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum")
LOSSY = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSumExp")


@rule(*EXACT, note="channels that are gone would add nothing")
def reduce_exact(op: Op, *_: Image) -> Image:  # a b -> a
    return reduced(op, lossy=False)


@rule(*LOSSY, lossy="over channels, of which some are gone")
def reduce_lossy(op: Op, *_: Image) -> Image:  # a b -> a
    return reduced(op, lossy=True)


trait(*LOSSY, neutral=neutral.summed)
trait("ReduceMean", linear="averages")


def reduced(op: Op, lossy: bool) -> Image:
    still(op, 1)
    x = op.operand(0)
    rank = len(x.shape)
    axes = op.attr("axes") if not op.has(1) else op.value(1)
    if op.has(1) and axes is None:
        op.freeze(x, "reduced over computed axes")
        return op.frozen()
    if axes is None or not len(axes):
        axes = () if op.attr("noop_with_empty_axes", 0) else range(rank)
    gone = {int(a) % rank for a in axes}
    x = aligned(op, x, gone)
    if gone & x.axes and lossy:
        op.lossy(f"{op.node.op} over channels, of which some are gone")
    maps = tuple(p for p in x.maps if not gone & set(p.axes))
    left = tuple(1 if a in gone else n for a, n in enumerate(x.shape))
    if not op.attr("keepdims", 1):
        maps = _drop_axes(maps, gone)
        left = tuple(n for a, n in enumerate(x.shape) if a not in gone)
    if left != op.out():
        raise ValueError(f"{left} is left where {op.out()} is expected")
    return Image(op.out(), maps)


def _drop_axes(maps: Sequence[IndexMap], gone: set[int]) -> tuple[IndexMap, ...]:
    """The index maps without axes `gone`, over which they do not vary."""
    rank = maps[0].rank - len(gone) if maps else 0
    return labels.placed(maps, lambda a: a - sum(g < a for g in gone), rank)


@rule("CumSum", note="a channel that is gone would add nothing")
def cumsum(op: Op, *_: Image) -> Image:  # * -> *
    still(op, 1)
    x, axis = op.operand(0), op.value(1)
    if axis is None:
        op.freeze(x, "summed along a computed axis")
        return op.frozen()
    return op.like(aligned(op, x, [int(axis.ravel()[0]) % len(x.shape)]))


@rule("CumProd", note="not along its own axis")
def cumprod(op: Op, *_: Image) -> Image:  # * -> *
    still(op, 1)
    x, axis = op.operand(0), op.value(1)
    rank = len(x.shape)
    along = range(rank) if axis is None else [int(axis.ravel()[0]) % rank]
    return op.like(op.alike(x, along, "multiplied along this axis"))


@rule("ArgMax", "ArgMin", note="not along its own axis")
def arg_max(op: Op, *_: Image) -> Image:  # a b -> a
    x = op.operand(0)
    axis = op.axis(len(x.shape))
    x = _without(op, x, axis)
    return Image(op.out(), x.maps if op.attr("keepdims", 1) else _drop_axes(x.maps, {axis}))


@rule("TopK", note="not along its own axis")
def top_k(op: Op, *_: Image) -> list[Image]:  # a b -> a k
    x = op.operand(0)
    if op.has(1) and op.sized(1) is None:
        op.freeze(x, "as many as data says are picked")
        return op.all_frozen()
    x = _without(op, x, op.axis(len(x.shape), -1))
    return [op.like(x, k) for k in range(op.outputs)]


def _without(op: Op, x: Image, axis: int) -> Image:
    """The image without the index maps that vary along `axis`: these are frozen."""
    for p in x.over(axis):
        op.freeze(p, "positions of channels are returned")
    return Image(x.shape, tuple(p for p in x.maps if axis not in p.axes))


trait("ArgMax", "ArgMin", decides=(0,))
trait("TopK", decides=(0,), sized=(1,))
