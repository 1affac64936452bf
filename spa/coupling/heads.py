"""How finely attention is cut: channels of every head on their own, alike in all, or whole heads.

A head is what a product of two activations has several of: a batch axis on which its operands
carry channels.  Tied heads are one more "same channel".  Whole heads are made one channel where
their labels are made, and the rules are run again: maps then lie over heads alone, pass through
the scores, and everything that has heads follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from spa import labels
from spa.coupling.model import Group
from spa.labels import FROZEN, Ids, IndexMap
from spa.trace import Collect, MadeAt


def heads_of(index_map: IndexMap, axes: tuple[int, ...]) -> Ids:
    """The labels of an index map as `[heads, channels of a head]`."""
    own = [a for a in index_map.axes if a in axes]
    rest = [a for a in range(index_map.rank) if a not in own]
    count = prod(index_map.ids.shape[a] for a in own)
    return index_map.ids.transpose(own + rest).reshape(count, -1)


def tie(notes: Collect) -> None:
    """Let all heads of a product keep the same positions; not where only whole heads can go."""
    root = notes.roots().solid
    for index_map, axes in notes.headed:
        if not axes:
            continue
        rows = heads_of(index_map, axes)
        units = root[rows]
        if (units != units[:, :1]).any():
            notes.tie(rows[:1], rows)


def alike(notes: Collect) -> dict[MadeAt, Ids]:
    """Which labels made at one place belong to one head, as `Collect` wants to be told."""
    head = _spread(notes, _heads(notes))
    found = {}
    for key, ids in notes.made_at.items():
        own = np.where(head[ids] != FROZEN, head[ids], -ids)
        _, first, place = np.unique(own, return_index=True, return_inverse=True)
        if len(first) < ids.size:
            found[key] = first[place]
    return found


def wide(notes: Collect, root: Ids, groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups with the number of channels that each of their units is."""
    named = {g.tensor for g in groups}
    counts: dict[str, dict[int, int]] = {}
    for name, index_map in notes.makers():
        if name in named and name not in counts:
            units, often = np.unique(root[index_map.ids], return_counts=True)
            counts[name] = dict(zip(units.tolist(), often.tolist(), strict=True))
    return tuple(
        replace(g, width=max(counts.get(g.tensor, {}).get(int(g.cells[0, 0]), 1), 1))
        for g in groups
    )


def _heads(notes: Collect) -> Ids:
    """The head that every label belongs to, int64 `[labels]`; 0 where it belongs to none."""
    pairs = [np.zeros((2, 0), np.int64)]
    several = [heads_of(index_map, axes) for index_map, axes in notes.headed if axes]
    for rows in (*several, *_hidden(notes)):
        pair = np.stack(np.broadcast_arrays(rows[:, :1], rows)).reshape(2, -1)
        pairs.append(pair[:, (pair != FROZEN).all(0)])
    both = np.concatenate(pairs, axis=1)
    head = np.zeros(notes.size, np.int64)
    head[both] = labels.components(notes.size, *both)[both]
    return head


def _hidden(notes: Collect) -> Iterator[Ids]:
    """Heads `[heads, channels of a head]` that are tied to each other before they are multiplied.

    A norm within every head, with one weight for all, leaves of them a map over the channels of
    one.  Where labels were made in rows of as many, and a row has nothing but these, it is a head.
    """
    loose = notes.roots().loose
    lines = {p.ids.tobytes(): p.ids.ravel() for p, axes in notes.headed if not axes}
    for line in lines.values():
        wanted = np.zeros(notes.size, bool)
        wanted[loose[line]] = True
        for ids in notes.made_at.values():
            if ids.size > line.size and ids.size % line.size == 0:
                rows = ids.reshape(-1, line.size)
                rows = rows[wanted[loose[rows[:, 0]]]]  # few are left to be looked at as a whole
                rows = rows[wanted[loose[rows]].all(1)]
                if len(rows) > 1:
                    yield rows


def _spread(notes: Collect, head: Ids) -> Ids:
    """The same, with what is one channel with a label of just one head.

    What heads share (the tables of a rotation) meets labels of several, and belongs to none.
    """
    left, right = notes.pairs()
    here, there = np.concatenate([left, right]), np.concatenate([right, left])
    shared = np.zeros(notes.size, bool)
    while True:
        new = (head[here] != FROZEN) & (head[there] == FROZEN) & ~shared[there]
        if not new.any():
            return head
        at, said = there[new], head[here[new]]
        least, most = np.full(notes.size, notes.size), np.zeros(notes.size, np.int64)
        np.minimum.at(least, at, said)
        np.maximum.at(most, at, said)
        shared |= (most > least) & (most > 0)
        head = np.where((head == FROZEN) & (least == most), most, head)
