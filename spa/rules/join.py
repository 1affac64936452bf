"""Operators that put tensors side by side or take them apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from spa import labels
from spa.labels import Ids, Image, IndexMap
from spa.rules.meet import apart, meet, still, wide_axes
from spa.rules.traits import trait
from spa.trace import Fixes, NodeView, Op, Sizes, refit, rule


@rule("Concat")
def concat(op: Op, *_: Image) -> Image:  # a, b -> (a b)
    rank = len(op.out())
    axis = op.axis(rank, 1)
    inputs = range(len(op.x))
    alone = [x.maps[0] for x in op.x if x and len(x.maps) == 1 and axis in x.maps[0].axes]
    if len(alone) == len(op.x) and op.moving:  # the usual case, and a fast one
        return Image(op.out(), (_joined(alone, op.x, axis),))
    stored = [op.is_const(i) for i in inputs]
    moving = [p for i in inputs if not stored[i] for p in op.operand(i).maps]
    varying = {a for p in moving for a in p.axes}
    deep = sorted({a for p in moving if axis in p.axes for a in p.axes})
    groups = [deep, *([a] for a in sorted(varying - set(deep)))]
    xs = [apart(op, i, *groups) if stored[i] else op.operand(i) for i in inputs]
    others = [_without(x, {axis}) for x in xs]
    wide = tuple(w - {axis} for w in wide_axes(op, [x.shape for x in xs]))
    if axis not in varying:  # joined along pixels or tokens: one set of channels
        return Image(op.out(), meet(op, others, wide))
    beside = [_beside(op, x, axis) for x in xs]
    index_map = _joined(beside, xs, axis)
    axes = frozenset(index_map.axes)
    for p in (p for x in others for p in x.maps if axes & set(p.axes)):
        op.freeze(p, "joined with channels that lie across")
    others = [_without(x, axes) for x in others]
    return Image(op.out(), (index_map, *meet(op, others, [w - axes for w in wide])))


def _joined(beside: Sequence[IndexMap], xs: Sequence[Image | None], axis: int) -> IndexMap:
    """Index maps of tensors that are joined along an axis, end to end."""
    axes = {axis}.union(*[p.axes for p in beside])
    wanted = [p.ids for p in beside]
    if len(axes) > 1:
        wanted = [_stretched(p, x, axes) for p, x in zip(beside, filter(None, xs), strict=True)]
    return IndexMap(np.concatenate(wanted, axis), tuple(sorted(axes)))


def _without(x: Image, axes: Collection[int]) -> Image:
    """The image without the index maps that lie along any of these axes."""
    left = tuple([p for p in x.maps if not any([a in axes for a in p.axes])])
    return x if len(left) == len(x.maps) else Image(x.shape, left)


def _stretched(p: IndexMap, x: Image, axes: Collection[int]) -> Ids:
    """The ids of an index map of `x`, at full length along `axes`."""
    return np.broadcast_to(p.ids, [n if a in axes else 1 for a, n in enumerate(x.shape)])


def _beside(op: Op, x: Image, axis: int) -> IndexMap:
    """The one index map of `x` along the axis that is joined; frozen where it has none."""
    maps = x.over(axis)
    for p in maps[1:]:
        op.freeze(p, "two sets of channels joined along one axis")
    if maps:
        return maps[0]
    shape = [n if a == axis else 1 for a, n in enumerate(x.shape)]
    return IndexMap(np.zeros(shape, np.int64), (axis,))


@rule("Split")
def split(op: Op, *_: Image) -> list[Image]:  # (a b) -> a, b
    still(op, 1)
    axis = op.axis(len(op.shape(0)))
    if op.has(1) and op.value(1) is None:
        x = op.besides(0, {axis}, "split at computed places")
        return [op.like(x, k) if name else x for k, name in enumerate(op.node.outputs)]
    x = op.operand(0)
    ends = _ends(op, x.shape[axis])
    if ends[-1] != x.shape[axis]:
        raise ValueError("the parts do not add up")
    parts = [
        labels.take(x, np.arange(begin, end), axis)
        for begin, end in zip([0, *ends], ends, strict=False)
    ]
    return [op.like(part, k) if op.node.outputs[k] else part for k, part in enumerate(parts)]


def _ends(op: NodeView, size: int) -> list[int]:
    """Where the parts end: as stated, or equal ones of which the last may be shorter."""
    stated = op.attr("split") if op.version < 13 else op.value(1)
    if stated is not None:
        return [int(n) for n in np.cumsum(stated)]
    count = len(op.node.outputs)
    return [min(size, -(-size // count) * (k + 1)) for k in range(count)]


@refit("Split")
def split_sizes(new: Sizes) -> Fixes:
    axis = new.axis(len(new.old_shape(0)))
    size = new.old_shape(0)[axis]
    if new.has(1) and new.value(1) is None:
        return {}
    ends = [new.count(0, axis, end) for end in _ends(new, size)]
    if ends[-1] == size:
        return {}
    sizes = np.diff([0, *ends])
    return {"split": sizes.tolist()} if new.version < 13 else {1: sizes, "num_outputs": None}


trait("Split", sized=(1,), linear="moves")
trait("Concat", linear="joins")
