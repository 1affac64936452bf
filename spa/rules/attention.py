"""Fused attention: queries and keys share the channels of a head, values make the output's."""

from __future__ import annotations

import numpy as np

from spa import labels
from spa.labels import Ids, Image, IndexMap
from spa.rules.contraction import of_attention
from spa.rules.meet import alongside, still
from spa.rules.traits import trait
from spa.trace import MICROSOFT, Fixes, Op, Sizes, refit, rule

FUSED = "heads of a fused attention"
PAST = "past keys and values are no channels"
SCORES = "scores of every head are handed out"


@rule("Attention", note="the size of a head may shrink; its scale is kept")
def attention(op: Op, *_: Image) -> list[Image]:  # b (h r) q d, b h k d, b h k e -> b (h r) q e
    still(op, 3, 6)
    kept = op.attr("kv_num_heads")
    q, k, v = heads(op, 0, op.attr("q_num_heads")), heads(op, 1, kept), heads(op, 2, kept)
    past = op.shape(4)[2] if op.has(4) else 0
    out = attend(op, q, k, v, (op.shape(0)[0], op.shape(0)[-2], op.shape(1)[-2] + past))
    with_past(op, k, v, 4)
    if op.outputs > 3:
        whole_heads(op, k, v, SCORES)
    images = [shown(op, out, 0), shown(op, k, 1), shown(op, v, 2)]
    return [*images, *op.all_frozen(3)][: op.outputs]


@rule("MultiHeadAttention", domain=MICROSOFT, note="packed or apart; its scale is kept")
def multi_head(op: Op, *_: Image) -> list[Image]:  # b q (h d), b k (h d), b k (h e) -> b q (h e)
    still(op, 4, 5, 8, 9)
    count = op.attr("num_heads")
    q, k, v = _packed(op, count)
    alongside(op, 3, np.concatenate([x.ravel() for x in (q, k, v)]))
    moving = 1 if op.has(1) else 0
    keys = op.shape(moving)[2 if len(op.shape(moving)) == 4 else 1]
    past = op.shape(6)[2] if op.has(6) else 0
    out = attend(op, q, k, v, (*op.shape(0)[:2], keys + past))
    with_past(op, k, v, 6)
    if op.outputs > 3:
        whole_heads(op, k, v, SCORES)
    return [shown(op, out, 0), shown(op, k, 1), shown(op, v, 2), *op.all_frozen(3)][: op.outputs]


def _packed(op: Op, count: int) -> tuple[Ids, Ids, Ids]:
    """Labels of queries, keys and values, which may lie beside each other in one tensor."""
    if not op.has(1):
        q, k, v = np.moveaxis(grid(op, 0, (2, 3, 4)), 1, 0)
        return q, k, v
    if not op.has(2):
        k, v = np.moveaxis(grid(op, 1, (2, 3, 4)), 1, 0)
        return heads(op, 0, count), k, v
    q, k, v = heads(op, 0, count), heads(op, 1, count), heads(op, 2, count)
    if len(op.shape(1)) == 4:  # the runtime wants keys and values of one size
        op.rows(np.concatenate([k, v]))
    return q, k, v


def attend(op: Op, q: Ids, k: Ids, v: Ids, sizes: tuple[int, ...]) -> Ids:
    """Labels of the sums, `[heads, size of a head]`; queries have those of keys.

    `sizes` are the batch, the number of queries and that of keys.
    """
    op.same(q, np.repeat(k, len(q) // len(k), axis=0), "scored against channels that cannot go")
    out = np.repeat(v, len(q) // len(k), axis=0)
    op.rows(q)
    op.rows(k)
    for own in (q, k, v):
        op.heads(IndexMap(own, (0, 1)), 0)
    op.cells(q.reshape(len(k), -1), v)
    both = np.concatenate([q, out], axis=1)  # every query meets every key, once per channel of each
    op.work((*sizes, *both.shape), 1.0, labels.lay(both, (3, 4), 5))
    return out


def with_past(op: Op, k: Ids, v: Ids, first: int) -> None:
    """Inputs `first` and the next are keys and values of earlier tokens."""
    for i, own in ((first, k), (first + 1, v)):
        if op.has(i):
            op.same(grid(op, i, (1, 3)), own, PAST)


def whole_heads(op: Op, k: Ids, v: Ids, reason: str) -> None:
    """What is handed out has an axis of heads that stays as it is."""
    for own in (k, v):
        op.same(own, np.zeros_like(own), reason)


def heads(op: Op, i: int, count: int | None) -> Ids:
    """The labels of an operand, `[heads, size of a head]`."""
    if len(op.shape(i)) == 3:
        return op.along(op.operand(i, ()), 2, FUSED).reshape(count or 1, -1)
    return grid(op, i, (1, 3))


def grid(op: Op, i: int, axes: tuple[int, ...]) -> Ids:
    """The labels of an operand over several axes, of which the last lies within heads."""
    x = op.operand(i, ())
    shape = tuple(x.shape[a] for a in axes)
    maps = _within(op, op.only(x, *axes, reason=FUSED), axes[-1])
    ids = [np.broadcast_to(p.ids.reshape([p.ids.shape[a] for a in axes]), shape) for p in maps]
    for other in ids[1:]:
        op.same(ids[0], other)
    return ids[0] if ids else np.zeros(shape, np.int64)


def _within(op: Op, x: Image, last: int) -> list[IndexMap]:
    """The maps that lie within heads, or over whole heads; of both kinds, the latter freeze."""
    within = [p for p in x.maps if last in p.axes]
    for p in x.maps:
        if within and last not in p.axes:
            op.freeze(p, FUSED)
    return within or list(x.maps)


def shown(op: Op, ids: Ids, k: int) -> Image:
    """The image of output `k` with these labels of its heads."""
    if k >= op.outputs or not op.node.outputs[k]:
        return labels.frozen(())
    four = len(op.out(k)) == 4
    return op.shown(ids, 1, 3, k=k) if four else op.shown(ids.reshape(-1), 2, k=k)


@refit("Attention")
def attention_sizes(new: Sizes) -> Fixes:
    """Heads may go as a whole; the scale stays what the size of a head once made it."""
    shape, (q, k) = new.old_shape(0), counts(new)
    flat = len(shape) == 3
    before = new.attr("q_num_heads") if flat else shape[1]
    size = shape[2] // before if flat else shape[3]
    same_heads(new, 3, before, q)
    fixes: Fixes = {"q_num_heads": q, "kv_num_heads": k} if flat else {}
    return {**fixes, "scale": new.attr("scale") or size**-0.5}


@refit("MultiHeadAttention", domain=MICROSOFT)
def multi_head_sizes(new: Sizes) -> Fixes:
    shape, before, (now, _) = new.old_shape(0), new.attr("num_heads"), counts(new)
    same_heads(new, 5, before, now)
    size = shape[-1] // (before if len(shape) == 3 else 1)
    return {"num_heads": now, "scale": new.attr("scale") or size**-0.5}


def counts(new: Sizes) -> list[int]:
    """How many heads are left of queries and of keys."""
    return [new.left.index_map(p).ids.shape[0] for p in new.notes.extra[new.node.index][-2:]]


def same_heads(new: Sizes, i: int, before: int, now: int) -> None:
    """Raise ValueError if heads go that input `i`, a mask or bias, has numbers for."""
    shape = new.old_shape(i) if new.has(i) else ()
    if now != before and before in (shape[-3:-2] or ()):
        raise ValueError("what is added to the scores of every head cannot lose a head")


@rule("LinearAttention", frozen="a state per head is carried from token to token")
@rule("FlexAttention", domain="ai.onnx.preview", frozen="its scores are changed by a body")
def other_attention(op: Op, *_: Image) -> list[Image]:
    still(op, *range(len(op.x)), reason=FUSED)
    return op.all_frozen()


trait("Attention", past=(4, 5), macs=of_attention)
trait("MultiHeadAttention", domain=MICROSOFT, past=(6, 7), macs=of_attention)
trait("LinearAttention", past=(3,))
