"""Operators that rescale channels, or compare each element with a statistic of others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from spa.labels import Image, IndexMap
from spa.rules import neutral
from spa.rules.meet import aligned, follow, together
from spa.rules.traits import Statistics, trait
from spa.trace import Fixes, Op, Sizes, refit, rule

MEAN = "a statistic over channels, of which some are gone"
SOFTMAX = "a softmax over channels, of which some are gone"


def per_channel(
    op: Op, i: int, rank: int, maps: Sequence[IndexMap], role: str = "scales", axis: int = 1
) -> None:
    """Input `i` has one number per channel, along an axis over which `maps` lie."""
    if op.is_const(i):
        follow(op, i, (1,) * axis + op.shape(i) + (1,) * (rank - 1 - axis), maps, role)
        return
    if not op.has(i):
        return
    ids = op.along(op.operand(i), 0)
    for p in maps:
        op.same(p.dense, ids, "scaled by a tensor that cannot be cut")
    if not maps:
        op.same(ids, np.zeros_like(ids))


def channels(op: Op, x: Image, axis: int = 1) -> tuple[list[IndexMap], list[IndexMap]]:
    """The one index map along an axis, which varies nowhere else, if any, and the others."""
    own = [q for p in x.over(axis) if (q := op.squash(p, (axis,))) is not None]
    for p in own[1:]:
        op.same(own[0].ids, p.ids)
    return own[:1], [p for p in x.maps if axis not in p.axes]


@rule("BatchNormalization", note="lossy only in training mode, along other axes than the channels")
def batch_normalization(op: Op, *_: Image) -> list[Image]:  # n c *, c, c, c, c -> n c *
    x = op.operand(0)
    rank, size = len(x.shape), x.shape[1] if len(x.shape) > 1 else 1
    if op.shape(1) != (size,):
        raise ValueError(f"{op.shape(1)} parameters for {size} channels")
    own, others = channels(op, x)
    for i in range(1, 5):
        per_channel(op, i, rank, own, "scales" if i < 3 else "follows")
    if others and (op.attr("training_mode", 0) or op.outputs > 1):
        op.lossy(MEAN)
    y = Image(x.shape, (*own, *others))
    statistics = [
        (op.made(own[0].dense, 0, k=k) if own else op.frozen(k)) if op.node.outputs[k] else y
        for k in range(1, op.outputs)
    ]
    return [y, *statistics]


trait(
    "BatchNormalization",
    statistics=Statistics(scale=1, shift=2, mean=3, variance=4),
    where=lambda node: not node.attrs.get("training_mode", 0),
)


@rule("InstanceNormalization", note="lossy where channels lie along the axes it averages over")
def instance_normalization(op: Op, *_: Image) -> Image:  # n c *, c, c -> n c *
    x = op.operand(0)
    own = [p for p in x.maps if p.axes == (1,)]
    if any(p.axes[-1] > 1 for p in x.maps):  # a group norm written as [n, groups, everything else]
        op.lossy(MEAN)
    for i in (1, 2):
        if op.shape(i)[0] != x.shape[1]:
            raise ValueError(f"{op.shape(i)[0]} parameters for {x.shape[1]} channels")
        per_channel(op, i, len(x.shape), own)
    return op.like(x)


trait("InstanceNormalization", neutral=neutral.bounded)


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", lossy=MEAN)
def layer_normalization(op: Op, *_: Image) -> list[Image]:  # * c, c, c -> * c
    return normalized(op, op.axis(len(op.shape(0)), -1), op.outputs)


def normalized(op: Op, axis: int, count: int) -> list[Image]:
    """The first `count` outputs of a norm over `axis` and what follows: itself, then statistics."""
    shape = op.shape(0)
    inputs = [i for i in range(len(op.node.inputs)) if op.has(i)]
    whole = Image(shape, together(op, inputs, len(shape)))
    rows = tuple(p for p in whole.maps if p.axes[-1] < axis)
    if len(rows) < len(whole.maps):
        op.lossy(MEAN)
    said = op.node.outputs
    return [whole, *(Image(op.out(k), rows) if said[k] else whole for k in range(1, count))]


trait("LayerNormalization", "RMSNormalization", neutral=neutral.affine)
trait("SimplifiedLayerNormalization", neutral=neutral.affine)


@rule("GroupNormalization", lossy=MEAN)
def group_normalization(op: Op, *_: Image) -> Image:  # n (g c) *, (g c), (g c) -> n (g c) *
    x = op.operand(0)
    groups = op.attr("num_groups")
    own, others = channels(op, x)
    for p in own:
        op.lossy(MEAN)
        op.rows(p.dense.reshape(groups, -1))
    if any(p.axes[-1] > 1 for p in others):
        op.lossy(MEAN)
    if op.version < 21 and op.shape(1)[0] != groups:
        raise ValueError("one scale per group is expected before opset 21")
    for i in (1, 2):
        per_channel(op, i, len(x.shape), own if op.version >= 21 else ())
    return Image(x.shape, (*own, *others))


trait("GroupNormalization", neutral=neutral.bounded)


@refit("GroupNormalization")
def group_count(new: Sizes) -> Fixes:
    rows = new.notes.extra.get(new.node.index)
    return {"num_groups": new.left.index_map(rows[0]).ids.shape[0]} if rows else {}


def over(op: Op, axes: Collection[int], reason: str = MEAN) -> Image:
    """Along `axes` it is lossy, along others exact."""
    x = aligned(op, op.operand(0), axes)
    if set(axes) & x.axes:
        op.lossy(reason)
    return op.like(x)


@rule("LRN", lossy="along its channels; exact along others")
def local_response(op: Op, *_: Image) -> Image:  # n c * -> n c *
    return over(op, [1], "normalised by neighbours, of which some are gone")


trait("LRN", neutral=neutral.bounded)


@rule("LpNormalization", note="channels that are gone would add nothing")
def lp_normalization(op: Op, *_: Image) -> Image:  # * -> *
    x = op.operand(0)
    return op.like(aligned(op, x, [op.axis(len(x.shape), -1)]))


trait("LpNormalization", neutral=neutral.bounded)


@rule("MeanVarianceNormalization", lossy="along the axes it averages over; exact along others")
def mean_variance(op: Op, *_: Image) -> Image:  # n c * -> n c *
    return over(op, {int(a) % len(op.shape(0)) for a in op.attr("axes", (0, 2, 3))})


trait("MeanVarianceNormalization", neutral=neutral.bounded)


def summed_over(op: Op, version: int) -> set[int]:
    """The axes a Softmax sums over: before opset 13, `axis` and all that follow."""
    rank = len(op.shape(0))
    axis = op.axis(rank, -1 if version >= 13 else 1)
    return {axis} if version >= 13 else set(range(axis, rank))


@rule("Softmax", "LogSoftmax", lossy="along its axis; exact along others")
def softmax(op: Op, *_: Image) -> Image:  # * -> *
    return over(op, summed_over(op, op.version), SOFTMAX)


trait("Softmax", "LogSoftmax", neutral=neutral.bounded)
trait("Softmax", shiftless=True)


@rule("Hardmax", note="not along its axis")
def hardmax(op: Op, *_: Image) -> Image:  # * -> *
    x = op.operand(0)
    return op.like(op.alike(x, summed_over(op, op.version), "picks the largest of its channels"))


trait("Hardmax", decides=(0,))
