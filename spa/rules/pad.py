"""Padding: constants beside channels are channels that nobody makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.labels import Ids, Image, IndexMap
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import Fixes, Op, Sizes, refit, rule

UNKNOWN = "padded by a computed amount"
Ends = tuple[NDArray[np.int64], NDArray[np.int64]]


def _pads(op: Op | Sizes, rank: int) -> Ends | None:
    """(before, after) for every axis, or None where they are computed from data."""
    pads = op.attr("pads") if op.version < 11 else op.sized(1)
    axes = _axes(op, rank)
    if pads is None or axes is None:
        return None
    before, after = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    before[axes], after[axes] = np.split(np.asarray(pads), 2)
    return before, after


def _axes(op: Op | Sizes, rank: int) -> list[int] | None:
    if op.version < 18 or not op.has(3):
        return list(range(rank))
    given = op.value(3)
    return None if given is None else [int(a) % rank for a in given]


def _moving(op: Op, rank: int) -> set[int]:
    """The axes along which as much is padded as the inputs are long."""
    if op.version < 11:
        return set()
    ends = np.flatnonzero(op.symbolic(1).reshape(-1))
    axes = _axes(op, rank) or []
    return {axes[k % len(axes)] for k in ends}


@rule("Pad")
def pad(op: Op, *_: Image) -> Image:  # c -> (before c after)
    still(op, 1, 2, 3)
    rank = len(op.shape(0))
    pads = _pads(op, rank)
    if pads is None:
        op.freeze(op.operand(0), UNKNOWN)
        return op.frozen()
    x = op.besides(0, _moving(op, rank), UNKNOWN)
    maps = []
    for p in x.maps:
        wide = [a for a in p.axes if pads[0][a] or pads[1][a]]
        if not wide:
            maps.append(p)
        elif not _grows(op, pads, wide):
            op.freeze(p, "padded with its own values, or cropped, along its channels")
        else:
            one = op.squash(p, wide[:1])
            if one is not None:
                maps.append(labels.lay(_between(op, one, wide[0], pads), wide[:1], rank))
    return Image(op.out(), tuple(maps))


def _grows(op: Op | Sizes, pads: Ends, wide: list[int]) -> bool:
    """Whether constants are put beside what is there along `wide`, and nothing else happens."""
    cropped = any(end[a] < 0 for end in pads for a in wide)
    return op.attr("mode", "constant") == "constant" and not cropped


def _between(op: Op, one: IndexMap, axis: int, pads: Ends) -> Ids:
    """The labels along `axis` between those of the padding, which are new."""
    grows = op.decide(lambda: [bool(end[axis]) for end in pads])
    new = [
        op.fresh(int(end[axis])) if more else np.zeros(0, np.int64)
        for end, more in zip(pads, grows, strict=True)
    ]
    return np.concatenate([new[0], one.dense, new[1]])


@refit("Pad")
def pad_sizes(new: Sizes) -> Fixes:
    rank = len(new.old_shape(0))
    pads, axes = _pads(new, rank), _axes(new, rank)
    if pads is None or axes is None:
        return {}
    result = np.array(new.attr("pads") if new.version < 11 else new.sized(1))
    turn = 0
    for p in new.notes.images[new.node.inputs[0]].maps:
        wide = [a for a in p.axes if pads[0][a] or pads[1][a]]
        if wide and _grows(new, pads, wide):
            for side in (0, 1):
                if pads[side][wide[0]]:
                    result[axes.index(wide[0]) + side * len(axes)] = new.created(turn).sum()
                    turn += 1
    return {"pads": result.tolist()} if new.version < 11 else {1: result}


trait("Pad", sized=(1,), linear="pads")
