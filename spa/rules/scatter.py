"""Operators that write into a tensor at positions given as data."""

from __future__ import annotations

from spa import labels
from spa.labels import Image
from spa.rules.gather import beside, element_wise, tail
from spa.rules.meet import follow, meet, still, wide_axes
from spa.rules.traits import Lookup, trait
from spa.trace import Op, rule


@rule("ScatterND", note="along the axes that are not indexed")
def scatter_nd(op: Op, *_: Image) -> Image:  # p c, i, i c -> p c
    still(op, 1)
    index, rank = op.shape(1), len(op.shape(0))
    leads = {0: index[-1], 2: len(index) - 1}
    moving = {i: tail(op, op.operand(i), lead) for i, lead in leads.items() if not op.is_const(i)}
    maps = meet(op, list(moving.values()), wide_axes(op, [x.shape for x in moving.values()]))
    for i in leads.keys() - moving.keys():
        own = labels.placed(maps, lambda a, i=i: a + leads[i], len(op.shape(i)))  # type: ignore[misc]
        follow(op, i, op.shape(i), own, "follows")
    return Image(op.out(), labels.placed(maps, lambda a: a + leads[0], rank))


@rule("ScatterElements", "Scatter", note="along the axes that are not indexed")
def scatter_elements(op: Op, *_: Image) -> Image:  # p c, i c, i c -> p c
    rank = len(op.shape(0))
    axis = op.axis(rank)
    others = [a for a in range(rank) if a != axis]
    x = op.only(op.operand(0, others), *others, reason="addressed by position")
    written = element_wise(op, [beside(op, x, axis)], [1, 2])
    for p in written:
        if axis in p.axes:
            op.squash(p, others, "addressed by position")
    return op.like(x)


trait("Scatter", "ScatterElements", "ScatterND", writes=True)
trait("ScatterElements", lookups=(Lookup(1, 0, "axis"),))
trait("ScatterND", lookups=(Lookup(1, 0, each=True),))
