"""Operators that only move elements about: the numpy function of the same name, run on labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import numpy as np

from spa import labels
from spa.labels import Image, IndexMap
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Fixes, Op, Sizes, refit, rule

FILLED = 1 << 16  # elements; larger ones are no states but masks
UNKNOWN = "its target shape is computed from data"


@rule("Transpose")
def transpose(op: Op, *_: Image) -> Image:  # a b -> b a
    x = op.operand(0)
    return labels.transpose(x, op.attr("perm") or range(len(x.shape))[::-1])


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: Op, *_: Image) -> Image:  # (a b) c -> a (b c)
    still(op, 1, reason="used as a size")
    x, shape = op.operand(0), op.out()
    if op.has(1) and op.sized(1) is None:
        return _lost(op, x)
    runs = op.decide(lambda: labels.cut(x.shape, shape))
    if runs is None:
        op.freeze(x, "empty tensor")
        return op.frozen()
    for old, new in runs:
        if prod(x.shape[a] for a in old) != prod(shape[a] for a in new):
            raise ValueError(f"{x.shape} cannot become {shape}")
    vary = op.decide(lambda: [labels.tighten(p).axes for p in labels.reshape(x, shape, runs).maps])
    maps = labels.reshape(x, shape, runs, vary).maps
    for p in maps:
        if not p.axes:
            op.freeze(p, "alone on its axis")
    return Image(shape, tuple(p for p in maps if p.axes))


@refit("Reshape")
def reshape_sizes(new: Sizes) -> Fixes:
    old, now, target = new.old_out(), new.out(), _stated(new)
    for a, n in enumerate(target):
        copied = n == 0 and not new.attr("allowzero", 0) and new.shape(0)[a] == now[a]
        if now[a] != old[a] and n != -1 and not copied:
            target[a] = now[a]
    if not new.is_const(1) and -1 not in target:
        for before, after in labels.cut(new.old_shape(0), old) or ():
            merged = [a for a in after if now[a] != old[a]]
            if (
                len(before) > 1 and len(merged) == 1
            ):  # a dynamic axis may be merged in: leave it open
                target[merged[0]] = -1
                break
    return {1: target}


@refit("Squeeze", silent=lambda node: "axes" in node.attrs or any(node.inputs[1:]))
def squeeze_axes(new: Sizes) -> Fixes:
    """Without axes, an axis that has shrunk to a single channel would go, too."""
    if new.has(1) or new.attr("axes") is not None:
        return {}
    axes = np.flatnonzero(np.array(new.old_shape(0)) == 1)
    return {1: axes} if new.version >= 13 else {"axes": axes.tolist()}


@rule("Expand")
def expand(op: Op, *_: Image) -> Image:  # a 1 -> a b
    still(op, 1, reason="used as a size")
    x, shape = op.operand(0), op.out()
    if op.sized(1) is None:
        return _lost(op, x)
    moving = _moving(op, 1)
    if op.is_const(0) and op.is_float(0) and op.decide(lambda: prod(x.shape) == 1):
        return filled(op, moving)
    x = labels.lift(x, len(shape))
    return Image(shape, (*x.maps, *_copies(op, x, moving)))


def _moving(op: Op, i: int) -> frozenset[int]:
    """The axes of the result whose length input `i` makes from the size of a symbolic axis."""
    said = np.flatnonzero(op.symbolic(i).reshape(-1))
    return frozenset((said + len(op.out()) - op.shape(i)[0]).tolist())


def _copies(op: Op, x: Image, moving: Collection[int]) -> list[IndexMap]:
    """Labels of what is written out along axes on which `x` has a single element.

    Copies are equal, so any number of them will do: they follow the channels that they meet.
    Beside channels of its own, a tensor is stretched over pixels or tokens, which are none, and so
    it is along an axis that is as long as the inputs are.
    """
    shape = op.out()
    wide = [a for a, n in enumerate(shape) if n > 1 and a not in moving]
    narrow = op.decide(lambda: () if x.maps else tuple(a for a in wide if x.shape[a] == 1))
    return [labels.lay(op.fresh(shape[a]), [a], len(shape)) for a in narrow]


def filled(op: Op, moving: Collection[int]) -> Image:
    """A tensor with one number everywhere: any part of it may go, if what it meets goes."""
    shape = op.out()
    wide = op.decide(lambda: tuple(a for a, n in enumerate(shape) if n > 1 and a not in moving))
    if not op.decide(lambda: bool(wide) and prod(shape) <= FILLED):
        return labels.frozen(shape)
    sizes = [n if a in wide else 1 for a, n in enumerate(shape)]
    return Image(shape, (IndexMap(op.fresh(prod(sizes)).reshape(sizes), wide),))


@refit("Expand")
def expand_sizes(new: Sizes) -> Fixes:
    old, now, target = new.old_out(), new.out(), _stated(new)
    lead = len(old) - len(target)
    for a, n in enumerate(target):
        if now[a + lead] != old[a + lead] and n != 1:
            target[a] = now[a + lead]
    return {1: target}


def _stated(new: Sizes) -> np.ndarray:
    """A copy of the target shape as it was stated."""
    stated = new.sized(1)
    if stated is None:
        raise ValueError(UNKNOWN)
    return np.array(stated, np.int64)


def _lost(op: Op, x: Image) -> Image:
    """Nobody knows where the elements of `x` go."""
    op.freeze(x, UNKNOWN)
    return op.frozen()


@rule("Tile")
def tile(op: Op, *_: Image) -> Image:  # a -> (r a)
    still(op, 1, reason="used as a size")
    shape, repeats = op.out(), op.sized(1)
    if repeats is None or 0 in shape:
        return _lost(op, op.operand(0))
    moving = _moving(op, 1)
    x = op.besides(0, moving, "repeated as often as is computed")
    return Image(shape, (*[_repeat(p, repeats) for p in x.maps], *_copies(op, x, moving)))


def _repeat(p: IndexMap, repeats: Sequence[int] | np.ndarray) -> IndexMap:
    times = [int(n) if a in p.axes else 1 for a, n in enumerate(repeats)]
    return IndexMap(np.tile(p.ids, times), p.axes)


@refit("Tile")
def tile_repeats(new: Sizes) -> Fixes:
    repeats = new.sized(1)
    if repeats is None:
        return {}
    old, now = np.array(new.old_out()), np.array(new.out())
    copied = (now != old) & (np.array(new.old_shape(0)) == 1)
    return {1: np.where(copied, now, repeats).astype(repeats.dtype)}


@rule("Shape", "RandomNormal", "RandomUniform", note="no channels in its result")
def shape_of(op: Op, *_: Image) -> list[Image]:
    return op.all_frozen()


@rule("Range", note="no channels in its result")
def made_to_size(op: Op, *_: Image) -> Image:
    still(op, *range(len(op.x)), reason="used as a size")
    return op.frozen()


@rule("ConstantOfShape", note="numbers go with the channels they meet, integers stay")
def constant_of_shape(op: Op, *_: Image) -> Image:
    still(op, 0, reason="used as a size")
    value = op.attr("value")
    floating = value is None or np.asarray(value).dtype.kind not in "iubOSU"
    known = floating and op.sized(0) is not None
    return filled(op, _moving(op, 0)) if known else op.frozen()


@refit("ConstantOfShape")
def constant_sizes(new: Sizes) -> Fixes:
    stated = new.sized(0)
    return {} if stated is None else {0: np.array(new.out(), np.int64)}


@rule("Size", frozen="the number of elements is used as a number")
def size(op: Op, x: Image) -> Image:
    op.freeze(x, "its number of elements is used as a number")
    return op.frozen()


@rule("EyeLike", frozen="the diagonal depends on positions")
def eye_like(op: Op, x: Image) -> Image:
    op.freeze(x, "the diagonal depends on positions")
    return op.frozen()


trait("RandomNormal", "RandomUniform", draws=True)
trait("Reshape", "Expand", "Tile", sized=(1,))
trait("Range", sized=(0, 1, 2))
trait("ConstantOfShape", sized=(0,))
trait("Flatten", "Reshape", "Squeeze", "Unsqueeze", linear="reshapes")
trait("Transpose", linear="permutes")
trait("Expand", "Tile", linear="moves")
trait("Shape", "Size", only_shape=True)
