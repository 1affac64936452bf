"""All cuts worth considering, as one sequence: each move takes one more step in one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit
from spa.coupling.model import Coupling

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Moves:
    """`rank[unit]` is the move that removes a unit (0: always removed, NEVER: always kept).

    `group[m]` is the group that move m+1 cuts.
    """

    rank: NDArray[np.int64]
    group: NDArray[np.int64]

    def kept(self, count: int) -> NDArray[np.bool_]:
        """What is kept after the first `count` moves, bool `[labels]` by unit."""
        return self.rank > count

    def without(self, move: int) -> Moves:
        """The same sequence in which a move, and what its group would do after it, is not made."""
        own = np.flatnonzero(self.group == self.group[move - 1]) + 1
        barred = np.isin(self.rank, own[own >= move])
        return Moves(np.where(barred, NEVER, self.rank), self.group)


def moves(
    coupling: Coupling, scores: NDArray[np.float64], limits: Sequence[Limit], scope: str
) -> Moves:
    """Order the steps of all groups.

    `global`: by the mean score of what a step removes, least first; `local`: by the share of the
    group that is gone after it, so that all groups shrink alike.  Within a cell the worst units go
    first; the cells of a group go in step.
    """
    rank = np.full(coupling.notes.size, NEVER)
    keys: list[NDArray[np.float64]] = []
    spans: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for group, limit in zip(coupling.groups, limits, strict=True):
        cells, length = group.cells, group.size
        worst = scores.take(cells).argsort(axis=1, kind="stable")
        order = cells.take(worst + np.arange(0, cells.size, length)[:, None])
        steps = limit.steps
        if limit.forced:
            rank[order[:, : limit.forced]] = 0
            steps = steps[steps >= limit.forced]
        spans.append((order, steps))
        if scope == "local":
            key = steps[1:] / group.size
        else:
            worth = np.concatenate([[0.0], np.cumsum(scores[order].mean(0))])
            key = np.maximum.accumulate(np.diff(worth[steps]) / np.maximum(np.diff(steps), 1))
        keys.append(key)
    if not keys:
        return Moves(rank, np.zeros(0, np.int64))
    sequence = np.argsort(np.concatenate(keys), kind="stable")
    place = np.empty_like(sequence)
    place[sequence] = np.arange(1, len(sequence) + 1)
    start = 0
    for order, steps in spans:
        count = len(steps) - 1
        for_slot = place[start : start + count].repeat(steps[1:] - steps[:-1])
        rank[order[:, steps[0] : steps[-1]]] = for_slot
        start += count
    owners = np.repeat([group.id for group in coupling.groups], [len(key) for key in keys])
    return Moves(rank, owners[sequence])
