"""Fused attention: queries and keys share the channels of a head, values make the output's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spa import labels
from spa.labels import Ids, Image
from spa.rules.meet import still
from spa.rules.registry import Fixes, refit, rule
from spa.trace.op import Op

if TYPE_CHECKING:
    from spa.trace.check import Sizes

FUSED = "heads of a fused attention"


@rule("Attention", note="the size of a head may shrink; its scale is kept")
def attention(op: Op, *_: Image) -> list[Image]:  # b (h r) q d, b h k d, b h k e -> b (h r) q e
    still(op, 3, 6)
    k, v, out = _attend(op, op.attr("q_num_heads"), op.attr("kv_num_heads"))
    for i, own in ((4, k), (5, v)):
        if op.has(i):
            op.same(_heads(op, i, None), own, "past keys and values are no channels")
    images = [_back(op, out, 0), _back(op, k, 1), _back(op, v, 2)]
    return [*images, *op.rocks(3)][: op.outputs]


@rule("MultiHeadAttention", domain="com.microsoft", note="not packed, not with a past")
def multi_head(op: Op, *_: Image) -> list[Image]:  # b q (h d), b k (h d), b k (h e) -> b q (h e)
    packed = not (op.has(1) and op.has(2)) or {len(op.shape(i)) for i in range(3)} != {3}
    if packed or any(op.has(i) for i in range(6, 10)) or op.outputs > 1:
        return other_attention(op)
    still(op, 4, 5)
    heads = op.attr("num_heads")
    k, v, out = _attend(op, heads, heads)
    if op.has(3):
        flat = np.concatenate([k.ravel(), k.ravel(), v.ravel()])
        if op.is_const(3):
            op.param(3, flat.shape, scales=labels.lay(flat, (0,), 1))
        else:
            op.same(op.along(op.operand(3), 0), flat)
    return [_back(op, out, 0)]


def _attend(op: Op, heads: int, kept: int) -> tuple[Ids, Ids, Ids]:
    """Labels of keys, values and sums, `[heads, size of a head]`; queries have those of keys."""
    q, k, v = _heads(op, 0, heads), _heads(op, 1, kept), _heads(op, 2, kept)
    repeats = len(q) // len(k)
    op.same(q, np.repeat(k, repeats, axis=0), "scored against channels that cannot go")
    out = np.repeat(v, repeats, axis=0)
    op.rows(q)
    op.rows(k)
    op.cells(q.reshape(len(k), -1), v)
    shape = op.shape(0)
    keys = op.shape(1)[-2] + (op.shape(4)[2] if op.node.op == "Attention" and op.has(4) else 0)
    both = np.concatenate([q, out], axis=1)  # every query meets every key, once per channel of each
    op.work((shape[0], shape[-2], keys, *both.shape), 1.0, labels.lay(both, (3, 4), 5))
    return k, v, out


def _heads(op: Op, i: int, heads: int | None) -> Ids:
    """The labels of an operand, `[heads, size of a head]`."""
    x = op.operand(i, ())
    if len(x.shape) == 3:
        return op.along(x, 2, FUSED).reshape(heads or 1, -1)
    shape = (x.shape[1], x.shape[3])
    planes = [p for p in op.only(x, 1, 3, reason=FUSED).planes if _within(op, x, p.axes)]
    ids = [np.broadcast_to(p.ids.reshape(p.ids.shape[1], p.ids.shape[3]), shape) for p in planes]
    for other in ids[1:]:
        op.same(ids[0], other)
    return ids[0] if ids else np.zeros(shape, np.int64)


def _within(op: Op, x: Image, axes: tuple[int, ...]) -> bool:
    """Whether a plane lies within heads; one over whole heads is frozen."""
    if 3 in axes:
        return True
    for p in x.planes:
        if 3 not in p.axes:
            op.freeze(p, FUSED)
    return False


def _back(op: Op, ids: Ids, k: int) -> Image:
    """The image of output `k` with these labels of its heads."""
    if k >= op.outputs or not op.node.outputs[k]:
        return labels.rock(())
    if not op.decide(lambda: bool(ids.any())):
        return op.rock(k)
    return op.made(ids, 1, 3, k=k) if len(op.out(k)) == 4 else op.made(ids.reshape(-1), 2, k=k)


@refit("Attention")
def attention_sizes(new: Sizes) -> Fixes:
    """Heads may go as a whole; the scale stays what the size of a head once made it."""
    shape, (q, k) = new.old_shape(0), _counts(new)
    flat = len(shape) == 3
    size = shape[2] // new.attr("q_num_heads") if flat else shape[3]
    fixes: Fixes = {"q_num_heads": q, "kv_num_heads": k} if flat else {}
    return {**fixes, "scale": new.attr("scale") or size**-0.5}


@refit("MultiHeadAttention", domain="com.microsoft")
def multi_head_sizes(new: Sizes) -> Fixes:
    rows = new.notes.extra.get(new.node.index)
    if not rows:
        return {}
    size = new.old_shape(0)[2] // new.attr("num_heads")
    return {"num_heads": _counts(new)[0], "scale": new.attr("scale") or size**-0.5}


def _counts(new: Sizes) -> list[int]:
    """How many heads are left of queries and of keys."""
    return [new.left.plane(p).ids.shape[0] for p in new.notes.extra[new.node.index]]


@rule("LinearAttention", frozen=FUSED)
@rule("FlexAttention", domain="ai.onnx.preview", frozen=FUSED)
@rule("Attention", "GroupQueryAttention", domain="com.microsoft", frozen=FUSED)
def other_attention(op: Op, *_: Image) -> list[Image]:
    still(op, *range(len(op.x)), reason=FUSED)
    return op.rocks()
