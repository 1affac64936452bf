"""Rotary embeddings: pairs of channels turn together, by tables that all heads share."""

from __future__ import annotations

import numpy as np

from spa import labels
from spa.labels import Ids, Image
from spa.rules.attention import heads, shown
from spa.rules.meet import still
from spa.trace import MICROSOFT, Fixes, Op, Sizes, refit, rule

NOTE = "pairs go from all heads at once, or whole heads where the tables are computed"


@rule("RotaryEmbedding", note=NOTE)
def rotary(op: Op, *_: Image) -> Image:  # b h t (2 d), t d, t d -> b h t (2 d)
    still(op, 3)
    return _rotate(op, (1, 2))


@rule("RotaryEmbedding", domain=MICROSOFT, note=NOTE)
def rotary_of_runtime(op: Op, *_: Image) -> Image:  # b h t (2 d), t d, t d -> b h t (2 d)
    still(op, 1)
    return _rotate(op, (2, 3))


def _rotate(op: Op, tables: tuple[int, int]) -> Image:
    ids = heads(op, 0, _count(op, tables[0]))
    op.rows(ids)
    rotated = op.attr("rotary_embedding_dim", 0) or ids.shape[1]
    whole, part = len(ids), ids[:, :rotated]
    if op.attr("interleaved", 0):
        pairs = part.reshape(whole, -1, 2)
    else:
        pairs = part.reshape(whole, 2, -1).swapaxes(1, 2)
    op.same(pairs[:, :, :1], pairs)
    if op.decide(lambda: bool((ids == ids[:, :1]).all())):
        still(op, *tables)  # whole heads need whole tables
    elif all(op.is_const(i) for i in tables):
        op.same(pairs[:1], pairs)
        for i in tables:
            _table(op, i, pairs[0, :, 0])
    else:
        still(op, *tables)
        some = part.shape[1] < ids.shape[1]  # without any, all would turn
        op.same(part, np.zeros_like(part) if some else part[:, :1], "rotated by computed tables")
    return shown(op, ids, 0)


def _count(op: Op, table: int) -> int:
    """How many heads lie side by side; where nothing is said, the tables tell the size of one."""
    stated = op.attr("num_heads", 0)
    return int(stated or op.shape(0)[-1] // (2 * op.shape(table)[-1]))


def _table(op: Op, i: int, ids: Ids) -> None:
    rank = len(op.shape(i))
    op.param(i, op.shape(i), follows=labels.lay(ids, (rank - 1,), rank))


@refit("RotaryEmbedding")
@refit("RotaryEmbedding", domain=MICROSOFT)
def rotary_sizes(new: Sizes) -> Fixes:
    """How many heads there are, and how much of each is rotated, where that is stated."""
    (rows,) = new.notes.extra[new.node.index]
    fixes: Fixes = {}
    if new.attr("num_heads", 0):
        fixes["num_heads"] = new.left.index_map(rows).ids.shape[0]
    rotated = new.attr("rotary_embedding_dim", 0)
    if rotated:
        kept = new.left.flags[rows.ids]
        fixes["rotary_embedding_dim"] = int(np.count_nonzero(kept[kept.any(1)][0, :rotated]))
    return fixes
