"""Operators that stretch or crop axes: channels pass along the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from spa.labels import Image, Shape
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Fixes, Op, Sizes, refit, rule

SHIFTS = ("tf_crop_and_resize", "tf_half_pixel_for_nn")
"""Modes in which an axis that keeps its length may still move."""


@rule("Resize", "Upsample", note="not along an axis that is resized")
def resize(op: Op, *_: Image) -> Image:  # c h w -> c (s h) (s w)
    still(op, 1, 2, 3)
    moved = op.decide(lambda: _moved(op, op.shape(0)))
    x = op.besides(0, moved, "resized")
    if any(x.shape[a] != op.out()[a] for a in x.axes):
        raise ValueError("resizing changes the number of channels")
    return op.like(x)


def _moved(op: Op, shape: Shape) -> set[int]:
    """The axes along which elements are mixed or moved."""
    rank = len(shape)
    everything = set(range(rank))
    axes = op.axes(rank)
    scales, sizes = _factors(op), op.sized(3) if op.has(3) else None
    if scales is None and sizes is None:
        return everything
    if op.attr("coordinate_transformation_mode", "half_pixel") in SHIFTS:
        return everything
    moved = {a for a in everything if shape[a] != op.out()[a]}
    moved |= {axes[k] for i in _stated(op) for k in np.flatnonzero(op.symbolic(i).reshape(-1))}
    if scales is not None and len(scales):
        return moved | {a for a, s in zip(axes, scales, strict=True) if s != 1}
    if op.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return moved | set(axes)
    return moved


def _factors(op: Op) -> Any:
    """The scales, or None where they are not given or not known."""
    if op.version < 9:
        return op.attr("scales")
    return op.sized(_stated(op)[0])


def _stated(op: Op) -> tuple[int, ...]:
    """The inputs that are scales, and sizes if there are any."""
    return (1,) if op.version < 11 else (2, 3)


@refit("Resize")
def resize_sizes(new: Sizes) -> Fixes:
    return _resized(new, 3)


def _resized(new: Sizes, i: int) -> Fixes:
    """The sizes that input `i` states, with those of axes that shrank replaced."""
    sizes = new.sized(i)
    if sizes is None or not sizes.size:
        return {}
    result = np.array(sizes)
    for k, a in enumerate(new.axes(len(new.old_out()))):
        if new.out()[a] != new.old_out()[a]:
            result[k] = new.out()[a]
    return {i: result}


@rule("CenterCropPad", note="not along an axis that is cropped or padded")
def center_crop_pad(op: Op, x: Image, *_: Image) -> Image:  # c h w -> c h' w'
    still(op, 1)
    moved = op.decide(lambda: _cropped(op, x))
    return op.like(op.alike(x, moved, "cropped or padded"))


def _cropped(op: Op, x: Image) -> set[int]:
    """The axes that are cropped or padded, at some size at least."""
    rank = len(x.shape)
    if op.sized(1) is None:
        return set(range(rank))
    moved = {op.axes(rank)[k] for k in np.flatnonzero(op.symbolic(1))}
    return moved | {a for a in range(rank) if x.shape[a] != op.out()[a]}


@refit("CenterCropPad")
def center_crop_pad_sizes(new: Sizes) -> Fixes:
    return _resized(new, 1)


trait("Resize", "Upsample", sized=(1, 2, 3))
trait("CenterCropPad", sized=(1,))
trait("Resize", resamples=True)
