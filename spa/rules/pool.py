"""Operators that work within each channel of an image, over space."""

from __future__ import annotations

from spa.labels import Image
from spa.rules import neutral
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Op, rule


@rule("AveragePool", "LpPool", "GlobalLpPool")
def pool(op: Op, x: Image, *_: Image) -> Image:  # n c * -> n c *
    x = op.only(x, 0, 1, reason="pooled")
    if x.shape[:2] != op.out()[:2]:
        raise ValueError("pooling keeps its channels")
    return op.like(x)


@rule("GlobalAveragePool", "GlobalMaxPool", note="lossy where channels lie where pixels do")
def global_pool(op: Op, x: Image) -> Image:  # n c * -> n c *
    gone = set(range(2, len(x.shape)))
    if x.shape[:2] != op.out()[:2]:
        raise ValueError("pooling keeps its channels")
    if gone & x.axes:  # a mean over tokens' features, written as a pool
        op.lossy(f"{op.node.op} over channels, of which some are gone")
    return op.like(Image(x.shape, tuple(p for p in x.maps if not gone & set(p.axes))))


trait("GlobalAveragePool", "GlobalMaxPool", neutral=neutral.pooled)


@rule("MaxPool", note="not if it returns positions")
def max_pool(op: Op, x: Image) -> list[Image]:  # n c * -> n c *, n c *
    if op.outputs > 1 and op.node.outputs[1]:
        op.freeze(x, "positions of channels are returned")
        return op.all_frozen()
    return [pool(op, x)]


@rule("GridSample", "RoiAlign", "MaxRoiPool")
def sample(op: Op, x: Image, *_: Image) -> Image:  # n c *, places -> m c *
    still(op, *range(1, len(op.x)), reason="says where to look")
    ids = op.along(x, 1, "sampled")
    return op.made(ids, 1) if x.axes else op.frozen()


trait("MaxPool", decides=(0,), where=lambda node: len(node.outputs) > 1)
