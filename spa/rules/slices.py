"""Slicing, run on labels; the bounds are recomputed for what is left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.labels import Image
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Fixes, NodeView, Op, Sizes, refit, rule

Bounds = list[tuple[int, int, int, int]]
UNKNOWN = "sliced by computed bounds"
END = np.iinfo(np.int64).max


def _bounds(op: NodeView, rank: int) -> Bounds | None:
    """(axis, start, end, step) of a Slice, or None where they are computed from data.

    Along the axes that `_moving` names they hold at the sizes of the analysis alone.
    """
    given: list[Any]
    if op.version < 10:
        given = [op.attr("starts"), op.attr("ends"), op.attr("axes"), None]
    else:
        given = [op.value(i) if i == 3 else op.sized(i) for i in (1, 2, 3, 4)]
        if any(op.has(i) and v is None for i, v in zip((1, 2, 3, 4), given, strict=True)):
            return None
    starts, ends, axes, steps = given
    axes = range(len(starts)) if axes is None else [int(a) % rank for a in axes]
    steps = [1] * len(starts) if steps is None else steps
    return [
        (int(a), int(s), int(e), int(t))
        for a, s, e, t in zip(axes, starts, ends, steps, strict=True)
    ]


def _moving(op: Op, bounds: Bounds) -> set[int]:
    """The axes along which a Slice picks other positions at other sizes."""
    if op.version < 10:
        return set()
    masks = [op.symbolic(i).reshape(-1) for i in (1, 2, 4) if op.has(i)]
    return {b[0] for k, b in enumerate(bounds) if any(mask[k] for mask in masks)}


@rule("Slice")
def slice_(op: Op, *_: Image) -> Image:  # c -> picked c
    still(op, 1, 2, 3, 4)
    rank = len(op.shape(0))
    bounds = _bounds(op, rank)
    if bounds is None:
        where = op.value(3) if op.has(3) else None
        axes = set(range(rank)) if where is None else {int(a) % rank for a in where}
        return op.like(op.besides(0, axes, UNKNOWN))
    x = op.besides(0, _moving(op, bounds), UNKNOWN)
    for axis, start, end, step in bounds:
        if axis in x.axes:
            places = np.arange(x.shape[axis])[start:end:step]
            if not places.size:  # no channel is left to tell how long other axes are: these stay
                for p in x.over(axis):
                    op.squash(p, (axis,))
            _gaps(op, x, axis, places, abs(step))
            x = labels.take(x, places, axis)
    return op.like(x)


def _gaps(op: Op, x: Image, axis: int, places: NDArray[np.int64], step: int) -> None:
    """Between two that are picked lie as many as before: every `step` of them stay together.

    Blocks of `step` are counted from the start of the axis, so that slices of even and of odd
    positions agree on them.
    """
    if step == 1:
        return
    head = op.decide(
        lambda: int(places[0]) % step if places.size else 0
    )  # of a block before a pick
    picked = np.sort(places)
    for beside in (*range(-head, 0), *range(1, step - head)):
        near = picked[1:] if beside < 0 else picked[:-1]
        for p in x.over(axis):
            op.same(p.ids.take(near, axis), p.ids.take(near + beside, axis))


@refit("Slice")
def slice_bounds(new: Sizes) -> Fixes:
    rank = len(new.old_shape(0))
    bounds = _bounds(new, rank)
    if bounds is None:
        return {}
    starts = [b[1] for b in bounds]
    ends = [b[2] for b in bounds]
    for k, (axis, start, end, step) in enumerate(bounds):
        kept = new.kept(0, axis)
        if not kept.all():
            starts[k], ends[k] = _rebound(kept, start, end, step)
    if new.version < 10:
        return {"starts": starts, "ends": ends}
    return {i: np.array(b, _type(new, i)) for i, b in ((1, starts), (2, ends))}


def _type(new: Sizes, i: int) -> np.dtype[Any]:
    known = new.sized(i)
    return np.dtype(np.int64) if known is None else known.dtype


def _rebound(kept: NDArray[np.bool_], start: int, end: int, step: int) -> tuple[int, int]:
    """Bounds that pick, among those kept, what was picked before; rows must agree."""
    found = set()
    for row in kept:
        old = np.arange(len(row))[start:end:step]
        if not len(
            old
        ):  # nothing was picked: what a rotation leaves alone, where it leaves nothing
            found.add((0, 0))
            continue
        rank = (np.cumsum(row) - 1)[old[row[old]]]
        if not len(rank) or (np.diff(rank) != step).any():
            raise ValueError("a slice would no longer pick the same channels")
        first, last = int(rank[0]), int(rank[-1])
        stop = last + 1 if step > 0 else last - 1
        found.add((first, stop if stop >= 0 else -END))
    if len(found) != 1:
        raise ValueError("rows would need different slice bounds")
    return found.pop()


trait("Slice", sized=(1, 2, 3, 4), linear="moves")
