"""Operators that pick positions by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spa import labels
from spa.labels import Image, IndexMap
from spa.rules.meet import apart, follow, meet, still, wide_axes
from spa.rules.traits import Lookup, trait
from spa.trace import Fixes, Op, Sizes, refit, rule


@rule("Gather")
def gather(op: Op, *_: Image) -> Image:  # a n b, i -> a i b
    rank = len(op.shape(0))
    axis, index = op.axis(rank), op.value(1)
    if index is None or not index.size:  # no row is picked here, but may be at other sizes
        return _by_data(op, axis, rank)
    x = op.operand(0)
    index = np.where(index < 0, index + x.shape[axis], index) if axis in x.axes else index * 0
    maps = labels.take(x, np.asarray(index, np.int64), axis).maps
    for p in maps:
        if not p.axes:
            op.freeze(p, "picked alone from its channels")
    return Image(op.out(), tuple(p for p in maps if p.axes))


def _by_data(op: Op, axis: int, rank: int) -> Image:
    """An embedding table, or rows picked by data: channels of a row, and those of the indices."""
    rest = [a for a in range(rank) if a != axis]
    x = op.only(_table(op, rest), *rest, reason="indexed by data")
    index = op.operand(1, ())
    more = len(index.shape) - 1
    kept = labels.placed(x.maps, lambda a: a if a < axis else a + more, rank + more)
    picked = labels.placed(index.maps, lambda a: a + axis, rank + more)
    return Image(op.out(), (*kept, *picked))


def _table(op: Op, axes: Sequence[int]) -> Image:
    """What rows are picked from; a stored one makes labels along `axes`.

    Several axes make matrices of the rows, whose products will tell what they read from what they
    make: each axis has labels of its own.
    """
    if not op.is_const(0):
        return op.operand(0)
    several = op.decide(lambda: sum(op.shape(0)[a] > 1 for a in axes) > 1)
    matrices = several and not op.symbolic(1).any()  # positions pick rows that are added
    return apart(op, 0, *[[a] for a in axes]) if matrices else op.operand(0, axes)


@refit("Gather")
def gather_index(new: Sizes) -> Fixes:
    index = new.value(1)
    axis = new.axis(len(new.old_shape(0)))
    if index is None or axis not in new.notes.images[new.node.inputs[0]].axes:
        return {}
    kept = new.kept(0, axis)
    if kept.all():
        return {}
    places = np.where(index < 0, index + kept.shape[1], index)
    picked = {tuple((np.cumsum(row) - 1)[places[row[places]]]) for row in kept}
    if len(picked) != 1:
        raise ValueError("rows would need different indices")
    shape = new.out()[axis : axis + index.ndim]
    return {1: np.array(picked.pop(), index.dtype).reshape(shape)}


@rule("GatherND", note="along the axes that are not indexed")
def gather_nd(op: Op, *_: Image) -> Image:  # p c, i -> i c
    still(op, 1)
    index = op.shape(1)
    lead = op.attr("batch_dims", 0) + index[-1]
    x = _table(op, range(lead, len(op.shape(0))))
    rank, shift = len(op.out()), len(index) - 1 - lead
    rest = tail(op, x, lead)
    return Image(op.out(), labels.placed(rest.maps, lambda a: a + lead + shift, rank))


def tail(op: Op, x: Image, lead: int) -> Image:
    """What is left of an image behind its first `lead` axes, which are addressed by position."""
    x = op.only(x, *range(lead, len(x.shape)), reason="addressed by position")
    rank = len(x.shape) - lead
    return Image(x.shape[lead:], labels.placed(x.maps, lambda a: a - lead, rank))


@rule("GatherElements", note="along the axes that are not indexed")
def gather_elements(op: Op, *_: Image) -> Image:  # p c, i c -> i c
    axis = op.axis(len(op.shape(0)))
    x = beside(op, _table(op, [a for a in range(len(op.shape(0))) if a != axis]), axis)
    return Image(op.out(), element_wise(op, [x], [1]))


def beside(op: Op, x: Image, axis: int) -> Image:
    """What is left of an image beside an axis that is addressed by position.

    Of the other axes, as much is looked at as the index is long, from the start on.
    """
    x = op.only(x, *[a for a in range(len(x.shape)) if a != axis], reason="addressed by position")
    for a, n in enumerate(op.shape(1)):
        if a != axis and a in x.axes and n < x.shape[a]:
            x = labels.take(x, np.arange(n), a)
    shape = tuple([1 if a == axis else n for a, n in enumerate(op.shape(1))])
    return Image(shape, x.maps)


def element_wise(op: Op, images: Sequence[Image], inputs: Sequence[int]) -> tuple[IndexMap, ...]:
    """The index maps of what is picked element by element: `images` and `inputs` meet.

    An index is cut with the channels it lies beside: where it is copied along them, or made for
    each of them, every channel keeps its own.  Stored ones follow.
    """
    moving = [*images, *(op.operand(i) for i in inputs if not op.is_const(i))]
    maps = meet(op, moving, wide_axes(op, [x.shape for x in moving]))
    for i in inputs:
        if op.is_const(i):
            follow(op, i, op.shape(i), maps, "follows")
    return maps


trait("Gather", linear="moves", lookups=(Lookup(1, 0, "axis", rows=True),))
trait("GatherElements", lookups=(Lookup(1, 0, "axis"),))
trait("GatherND", lookups=(Lookup(1, 0, each=True),))
