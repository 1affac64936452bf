"""What several operators share: images that meet element by element, constants that follow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache, partial

import numpy as np

from spa import labels
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace import MET, Op


def still(op: Op, *inputs: int, reason: str = "steers an operation") -> None:
    """Freeze inputs that are sizes, positions or the like: no channels lie in them."""
    for i in inputs:
        if op.has(i):
            op.freeze(op.x[i], reason)


def alongside(
    op: Op, i: int, ids: Ids, axis: int = 0, role: str = "scales", reason: str = MET
) -> None:
    """Input `i`, if given, has numbers of its own for these channels, which lie along `axis`."""
    if op.is_const(i):
        op.param(i, op.shape(i), 0.0, **{role: labels.lay(ids, (axis,), len(op.shape(i)))})
    elif op.has(i):
        op.same(op.along(op.operand(i), axis), ids, reason)


def apart(op: Op, i: int, *axes: Sequence[int], integers: bool = False) -> Image:
    """Stored input `i` with labels of its own along groups of axes; along each group its own."""
    shape = op.shape(i)
    wide = op.decide(lambda: tuple(a for a, n in enumerate(shape) if n > 1))
    wide = wide if integers or op.is_number(i) else ()
    groups = [tuple(a for a in group if a in wide) for group in axes]
    makes = {f"makes{k}": group for k, group in enumerate(filter(None, groups))}
    return Image(shape, tuple(op.param(i, shape, times=0.0, **makes)) if makes else ())


def wide_axes(op: Op, shapes: Sequence[Shape]) -> tuple[frozenset[int], ...]:
    """For every operand, the axes along which it is longer than 1 (a structural choice)."""
    return op.decide(lambda: tuple([_longer_than_one(s) for s in shapes]))


@lru_cache(maxsize=4096)
def _longer_than_one(shape: Shape) -> frozenset[int]:
    return frozenset([a for a, n in enumerate(shape) if n > 1])


def meet(op: Op, images: Sequence[Image], wide: Sequence[frozenset[int]]) -> tuple[IndexMap, ...]:
    """The index maps of a tensor whose elements are made from those of `images` at the same place.

    Maps of different operands over the same axes are one.  An axis along which some operand is
    wide without labels stays whole: a map over it and others is tied along it, one over nothing
    else is frozen.  A single channel that is stretched over many cannot go.
    """
    joined: list[IndexMap] = []
    broad = frozenset[int]().union(*wide)
    for image, own in zip(images, wide, strict=True):
        known = list(joined)
        for whole in image.maps:
            keep = [a for a in whole.axes if a in own or a not in broad]
            p = op.squash(whole, keep, "a single channel, stretched over others")
            if p is None:
                continue
            over = [k for k, q in enumerate(known) if set(p.axes) & set(q.axes)]
            if over:
                k = op.decide(partial(_likest, p, known, over)) if len(over) > 1 else over[0]
                joined[k] = _join(op, p, joined[k])
            else:
                joined.append(p)
    free = []
    for q in joined:
        stays = {a for x, w in zip(images, wide, strict=True) for a in w - x.axes}
        keep = [a for a in q.axes if a not in stays]
        left = op.squash(q, keep, "meets a tensor that cannot be cut")
        free += [] if left is None else [left]
    return tuple(free)


def aligned(op: Op, x: Image, axes: Collection[int]) -> Image:
    """The image as an op may see it that combines elements along `axes`.

    Rows of one map may keep different positions, so elements of different rows no longer stand
    side by side: an index map whose rows lie along `axes` must keep the same in each.
    """
    maps = []
    for p in x.maps:
        inside = [a for a in p.axes if a in axes]
        beside = len(inside) < len(p.axes) and inside != list(p.axes[-len(inside) :])
        q = op.squash(p, [a for a in p.axes if a not in axes]) if inside and beside else p
        maps += [] if q is None else [q]
    return Image(x.shape, tuple(maps))


def together(op: Op, inputs: Sequence[int], rank: int, makes: bool = False) -> tuple[IndexMap, ...]:
    """The index maps of what several inputs, broadcast to `rank`, make together.

    Activations meet and stored tensors follow.  With `makes`, a stored tensor that alone gives an
    axis its length makes labels there.
    """
    views = {i: (1,) * (rank - len(op.shape(i))) + op.shape(i) for i in inputs}
    xs = {i: labels.lift(op.operand(i), rank) for i in inputs if not op.is_const(i)}
    moving = wide_axes(op, [views[i] for i in xs])
    maps = meet(op, list(xs.values()), moving)
    covered = frozenset[int]().union(*moving)
    stored = [i for i in inputs if i not in xs]
    makers: dict[int, list[tuple[int, ...]]] = {}
    for i in stored if makes else ():
        (wide,) = wide_axes(op, [views[i]])
        own = sorted(wide - covered) if op.is_float(i) else []
        if own and not maps and not wide & covered:
            makers[i] = [tuple(own)]
        elif own and op.factors(i) is not None:  # part of a weight that is computed
            makers[i] = [(a,) for a in own]
    created: list[IndexMap] = []
    for i, groups in makers.items():
        for p in follow(op, i, views[i], maps, makes=groups):
            met = [k for k, q in enumerate(created) if set(p.axes) & set(q.axes)]
            if met:
                created[met[0]] = _join(op, p, created[met[0]])
            else:
                created.append(p)
    for i in stored:
        if i not in makers:
            follow(op, i, views[i], (*maps, *created))
    return (*maps, *created)


def _likest(p: IndexMap, known: Sequence[IndexMap], over: Sequence[int]) -> int:
    """Which of the index maps that lie over `p` repeats its labels as `p` does; else the first.

    Rows and columns of a matrix that is laid out flat meet rows and columns.
    """
    pattern = _pattern(p)
    for k in over:
        if known[k].axes == p.axes and np.array_equal(_pattern(known[k]), pattern):
            return k
    return over[0]


def _pattern(p: IndexMap) -> Ids:
    """For every element the place of the first that has its label."""
    _, first, place = np.unique(p.dense, return_index=True, return_inverse=True)
    return np.asarray(first[place.reshape(-1)])


def _join(op: Op, p: IndexMap, q: IndexMap) -> IndexMap:
    """Two index maps that lie over each other become one, the one with more axes."""
    common = set(p.axes) & set(q.axes)
    if common not in (set(p.axes), set(q.axes)):
        p = op.squash(p, sorted(common)) or p
        q = op.squash(q, sorted(common)) or q
    op.same(p.ids, q.ids)
    return p if len(p.axes) > len(q.axes) else q


def follow(
    op: Op,
    i: int,
    view: Shape,
    maps: Sequence[IndexMap],
    role: str = "scales",
    makes: Sequence[tuple[int, ...]] = (),
) -> tuple[IndexMap, ...]:
    """Constant `i`, seen as `view` (the rank of the maps), is cut wherever the maps are.

    A constant that covers only some axes of a map is shared along the others, so these merge.
    Groups of axes in `makes`, which no map covers, get labels of their own, which are returned.
    """
    wide = op.decide(lambda: _longer_than_one(view))
    if len(maps) == 1 and not makes and wide.issuperset(maps[0].axes):  # the usual case
        op.param(i, view, 0.0, **{f"{role}0": maps[0]})
        return ()
    given: dict[str, IndexMap | tuple[int, ...]] = {}
    some: list[tuple[int, IndexMap]] = []
    for k, p in enumerate(maps):
        if wide.issuperset(p.axes):
            given[f"{role}{k}"] = p
        elif axes := tuple([a for a in p.axes if a in wide]):
            some.append((len(given), p))
            given[f"{role}{k}"] = axes
    given |= {f"makes{k}": axes for k, axes in enumerate(makes)}
    if not given:
        return ()
    made = op.param(i, view, times=0.0, **given)
    for k, p in some:
        op.same(p.ids, made[k].ids)
    return tuple(made[len(made) - len(makes) :])
