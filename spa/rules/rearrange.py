"""Operators that move elements between axes, or treat positions along an axis differently."""

from __future__ import annotations

import numpy as np

from spa.labels import Image
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Op, rule


@rule("DepthToSpace")
def depth_to_space(op: Op, x: Image) -> Image:  # n (b b c) h w -> n c (h b) (w b)
    area = op.attr("blocksize") ** 2
    ids = op.along(x, 1)
    rows = ids.reshape(area, -1) if op.attr("mode", "DCR") == "DCR" else ids.reshape(-1, area).T
    op.same(rows[:1], rows)  # what lands in one channel stays together
    return op.made(rows[0], 1) if x.axes else op.frozen()


@rule("SpaceToDepth")
def space_to_depth(op: Op, x: Image) -> Image:  # n c (h b) (w b) -> n (b b c) h w
    area, ids = op.attr("blocksize") ** 2, op.along(x, 1)
    deep = np.repeat(ids, area) if op.attr("mode", "DCR") == "CRD" else np.tile(ids, area)
    return op.made(deep, 1) if x.axes else op.frozen()


@rule("Col2Im")
def col2im(op: Op, x: Image, *_: Image) -> Image:  # n (c b) l -> n c h w
    still(op, 1, 2)
    channels = op.out()[1]
    rows = op.along(x, 1).reshape(channels, -1)
    op.same(rows[:, :1], rows)  # the block of one channel stays together
    return op.made(rows[:, 0], 1) if x.axes else op.frozen()


@rule("ReverseSequence", note="not along its batch and time axes")
def reverse_sequence(op: Op, x: Image, *_: Image) -> Image:  # b t * -> b t *
    still(op, 1)
    fixed = {op.attr("batch_axis", 1), op.attr("time_axis", 0)}
    return op.like(op.alike(x, fixed, "reversed by a computed amount"))


@rule("Trilu", note="not along the axes of its matrices")
def trilu(op: Op, *_: Image) -> Image:  # * i j -> * i j
    still(op, 1)
    x = op.operand(0)
    last = {len(x.shape) - 2, len(x.shape) - 1}
    return op.like(op.alike(x, last, "the diagonal depends on positions"))


trait("Col2Im", sized=(1, 2))
