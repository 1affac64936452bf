"""Attention as onnxruntime fuses it: with its projection, or with rotation and grouped queries."""

from __future__ import annotations

import numpy as np

from spa import labels
from spa.labels import Ids, Image
from spa.rules.attention import (
    SCORES,
    attend,
    counts,
    heads,
    same_heads,
    shown,
    whole_heads,
    with_past,
)
from spa.rules.contraction import of_attention, of_projected_attention
from spa.rules.meet import alongside, still
from spa.rules.traits import trait
from spa.trace import MICROSOFT, Fixes, Op, Sizes, refit, rule


@rule("Attention", domain=MICROSOFT, note="its scale is kept; not with a past, or rotated: by head")
def attention(op: Op, x: Image, *_: Image) -> list[Image]:  # b s i, i (q k v), (q k v) -> b s v
    still(op, 3, 5, 6)
    return _projected(op, x, _labels(op), 4)


@rule("QAttention", domain=MICROSOFT, note="as Attention; queries, keys and values stay as wide")
def attention_of_bytes(op: Op, x: Image, *_: Image) -> list[Image]:  # b s i, i (q k v) -> b s v
    still(op, 3, 5, 6)
    k, v = _labels(op)
    op.rows(np.concatenate([k, v]))
    columns = np.concatenate([k.ravel(), k.ravel(), v.ravel()])
    for i in (4, 7):  # one scale and zero point for all columns, or one for each
        if op.has(i) and op.decide(lambda i=i: op.shape(i) not in ((), (1,))):  # type: ignore[misc]
            alongside(op, i, columns, role="follows")
        else:
            still(op, i)
    return _projected(op, x, (k, v), 8)


trait("QAttention", domain=MICROSOFT, bytes=((0, 1, 7),), quantised=((0, 3, 6), (1, 4, 7)))


def _labels(op: Op) -> tuple[Ids, Ids]:
    """New labels of queries (and keys), and of values, `[heads, size of a head]` each."""
    count, widths = op.attr("num_heads"), _widths(op)
    return op.fresh(widths[0]).reshape(count, -1), op.fresh(widths[2]).reshape(count, -1)


def _projected(op: Op, x: Image, made: tuple[Ids, Ids], past: int) -> list[Image]:
    """Attention behind its projection, input 1 with bias 2; input `past` has earlier keys."""
    read = op.along(x, 2, "projected")
    # queries and keys share labels that no tensor has alone: hence not made by the weight itself
    k, v = made
    flat = np.concatenate([k.ravel(), k.ravel(), v.ravel()])
    times = float(np.prod(x.shape[:2]))
    rows, columns = labels.lay(read, (0,), 2), labels.lay(flat, (1,), 2)
    if op.is_const(1):
        op.param(1, op.shape(1), times=times, makes=columns, reads=rows)
    else:
        weight = op.operand(1)
        for axis, own in ((0, read), (1, flat)):
            whole = Image(weight.shape, weight.over(axis))
            op.same(op.along(whole, axis), own, "its weight is computed")
    alongside(op, 2, flat)
    if op.attr("do_rotary", 0):
        op.same(k[:, :1], k)
    before = op.shape(past)[3] if op.has(past) else 0
    out = attend(op, k, k, v, (*x.shape[:2], x.shape[1] + before))
    if op.has(past) or (op.outputs > 1 and op.node.outputs[1]):
        still(op, past)
        whole_heads(op, k, v, "keys and values of all heads are handed on")
    return [shown(op, out, 0), *op.all_frozen(1)][: op.outputs]


def _widths(op: Op | Sizes) -> list[int]:
    """Columns of the weight that make queries, keys and values."""
    stated = op.attr("qkv_hidden_sizes")
    shape = op.shape(1) if isinstance(op, Op) else op.old_shape(1)
    return [int(n) for n in stated] if stated else [shape[1] // 3] * 3


@refit("Attention", domain=MICROSOFT)
def attention_sizes(new: Sizes) -> Fixes:
    """Heads as a whole, the widths of all three, and the scale as it was."""
    count, (now, _), before = new.attr("num_heads"), counts(new), _widths(new)
    same_heads(new, 5, count, now)
    k, v = (int(new.created(turn).sum()) for turn in (0, 1))
    fixes: Fixes = {"num_heads": now, "scale": new.attr("scale") or (before[0] // count) ** -0.5}
    if new.attr("qkv_hidden_sizes") or k != v:
        fixes["qkv_hidden_sizes"] = [k, k, v]
    return fixes


@refit("QAttention", domain=MICROSOFT)
def sizes_of_bytes(new: Sizes) -> Fixes:
    """Heads as a whole, and the scale as it was."""
    count, (now, _) = new.attr("num_heads"), counts(new)
    scale = new.attr("scale") or (new.old_shape(1)[1] // 3 // count) ** -0.5
    return {"num_heads": now, "scale": scale}


@rule(
    "GroupQueryAttention",
    domain=MICROSOFT,
    note="whole heads of keys, with their queries; not with a past from outside",
)
def grouped(op: Op, *_: Image) -> list[Image]:  # b s (k r d), b s (k d), b s (k d) -> b s (k r d)
    still(op, *range(5, 11), *range(12, 16))
    count, kept = op.attr("num_heads"), op.attr("kv_num_heads")
    q, k, v = _queries(op, count, kept)
    op.same(k[:, :1], np.concatenate([k, v], axis=1))
    past = op.shape(3)[2] if op.has(3) else 0
    out = attend(op, q, k, v, (*op.shape(0)[:2], op.shape(0)[1] + past))
    with_past(op, k, v, 3)
    alongside(op, 11, q[:, 0])  # a number per head, which goes with it
    if op.outputs > 3:
        whole_heads(op, k, v, SCORES)
    return [shown(op, out, 0), shown(op, k, 1), shown(op, v, 2), *op.all_frozen(3)][: op.outputs]


def _queries(op: Op, count: int, kept: int) -> tuple[Ids, Ids, Ids]:
    if op.has(1):
        return heads(op, 0, count), heads(op, 1, kept), heads(op, 2, kept)
    packed = op.along(op.operand(0, ()), 2).reshape(count + 2 * kept, -1)
    op.rows(packed)
    return packed[:count], packed[count : count + kept], packed[count + kept :]


@refit("GroupQueryAttention", domain=MICROSOFT)
def grouped_sizes(new: Sizes) -> Fixes:
    now, kept = counts(new)
    same_heads(new, 10, new.attr("num_heads"), now)
    return {"num_heads": now, "kv_num_heads": kept}


trait("Attention", domain=MICROSOFT, past=(4,), macs=of_projected_attention)
trait("QAttention", domain=MICROSOFT, past=(8,), macs=of_projected_attention)
trait("GroupQueryAttention", domain=MICROSOFT, past=(3, 4), macs=of_attention)
