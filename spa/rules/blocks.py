"""Integers of a few bits, packed several to a byte, of which each block has its scale.

Where columns are packed, only whole blocks of them go.
"""

from __future__ import annotations

from math import prod

import numpy as np

from spa import labels
from spa.labels import Ids, Image
from spa.rules.contraction import of_product
from spa.rules.meet import still
from spa.rules.normalize import per_channel
from spa.rules.quantize import BLOCKS
from spa.rules.traits import Lookup, trait
from spa.trace import MICROSOFT, Fixes, Op, Sizes, refit, rule

COMPUTED = "its weight is computed"


@rule("MatMulNBits", domain=MICROSOFT, note="columns one by one, rows block by block")
def n_bits(op: Op, *_: Image) -> Image:  # * (k b), o k ., o k, o . -> * o
    if not all(op.is_const(i) for i in (1, 2, 3) if op.has(i)):
        still(op, *range(len(op.x)), reason=COMPUTED)
        return op.frozen()
    still(op, 4)
    rows, blocks, blob = op.shape(1)
    x, rank = op.operand(0), len(op.shape(0))
    read = op.along(x, rank - 1)
    inner = _blocks(op, read, blocks)
    times = prod(x.shape[:-1]) * op.attr("block_size") / max(blob, 1)
    lanes = labels.lay(inner, (1,), 3)
    made = op.param(1, (rows, blocks, blob), times=times, makes=(0,), reads=lanes)[0].dense
    _beside(op, 2, made, inner)
    if op.has(3):
        _beside(op, 3, made, inner)
    out = op.shown(made, rank - 1)
    if op.has(5):
        per_channel(op, 5, rank, out.maps, axis=rank - 1)
    return out


def _blocks(op: Op, read: np.ndarray, blocks: int) -> np.ndarray:
    """Labels of the blocks, of which each goes as a whole; a broken one at the end stays."""
    if len(read) != blocks * op.attr("block_size"):
        op.same(read, np.zeros_like(read), BLOCKS)
        return np.zeros(blocks, np.int64)
    lanes = read.reshape(blocks, -1)
    op.same(lanes[:, :1], lanes, BLOCKS)
    return lanes[:, 0]


def _beside(op: Op, i: int, made: np.ndarray, inner: np.ndarray) -> None:
    """Scales or zero points, `[o, k]`; zero points may lie several to a byte."""
    lanes = op.decide(lambda: prod(op.shape(i)) // max(len(made), 1))
    if lanes != op.decide(lambda: len(inner)):  # packed: what shares a byte goes together
        share = op.decide(lambda: 8 // op.attr("bits", 4))
        if len(inner) % share:
            op.same(inner, np.zeros_like(inner), "zero points share a byte")
            inner = np.zeros(-(-len(inner) // share), np.int64)
        else:
            packed = inner.reshape(-1, share)
            op.same(packed[:, :1], packed, "zero points share a byte")
            inner = packed[:, 0]
    columns, rows = labels.lay(inner, (1,), 2), labels.lay(made, (0,), 2)
    op.param(i, (len(made), len(inner)), follows0=rows, follows1=columns)


@refit("MatMulNBits", domain=MICROSOFT)
def n_bits_sizes(new: Sizes) -> Fixes:
    if (new.node.index, 1) not in new.notes.params:
        return {}
    rows, blocks, _ = new.view(1)
    whole = new.old_shape(1)[1]
    kept = blocks * new.attr("block_size") if blocks < whole else new.attr("K")
    return {"N": int(rows), "K": int(kept)}


@rule(
    "GatherBlockQuantized",
    domain=MICROSOFT,
    note="rows of a table, whose columns go block by block",
)
def gather_of_blocks(op: Op, *_: Image) -> Image:  # v (k b), i, v k, v k -> i (k b)
    given = [i for i in (0, 2, 3) if op.has(i)]
    rank = len(op.shape(0))
    axes = op.axis(rank, 0, "gather_axis"), op.axis(rank, 1, "quantize_axis")
    if not all(op.is_const(i) for i in given) or op.decide(lambda: (rank, *axes) != (2, 0, 1)):
        still(op, 1, *given, reason=COMPUTED)
        return op.frozen()
    index = op.operand(1, ())
    rows, blocks = op.shape(2)
    read = _blocks_of(op, rows, blocks)
    lanes = labels.lay(read, (1,), 2)
    if op.has(3):
        _beside(op, 3, np.zeros(rows, np.int64), read)
    op.param(2, (rows, blocks), follows=lanes)
    width = op.out()[-1] // max(blocks, 1)
    kept = labels.placed(index.maps, lambda a: a, len(op.out()))
    columns = labels.lay(np.repeat(read, width), (len(op.out()) - 1,), len(op.out()))
    return Image(op.out(), (*kept, *([columns] if op.decide(lambda: bool(read.any())) else [])))


def _blocks_of(op: Op, rows: int, blocks: int) -> Ids:
    """Labels of the blocks of a stored table; a broken one at the end keeps all whole."""
    size, columns = op.attr("block_size", 128), op.shape(0)[1]
    if op.decide(lambda: not size or op.out()[-1] % size or columns % max(blocks, 1)):
        return np.zeros(blocks, np.int64)
    made = op.param(0, (rows, blocks, columns // max(blocks, 1)), makes=(1,))[0]
    return made.dense


trait("MatMulNBits", domain=MICROSOFT, linear="multiplies", macs=of_product)
trait("GatherBlockQuantized", domain=MICROSOFT, lookups=(Lookup(1, 0, "gather_axis"),))
