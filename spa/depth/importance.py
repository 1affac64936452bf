"""Which branches to lose first: the least error of the outputs for the time, or whatever, saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from spa.depth.branches import Branch

Error = Callable[[Sequence[Branch]], float]
"""The error of the outputs without these branches, something made up for them at once."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Step:
    """One more branch that goes.

    Attributes:
        branch: which one.
        error: of the outputs once it has gone with all before it.
        saved: by it and all before it, as a share of the whole.
    """

    branch: Branch
    error: float
    saved: float


def in_order(
    free: Iterable[Branch],
    cost: Mapping[int, float],
    error: Error,
    enough: float,
    gone: Sequence[Branch] = (),
) -> tuple[Step, ...]:
    """Branches in the order in which to lose them, until enough is saved.

    The next one is that whose loss adds least to the error for what it saves: greedy, and lazy, as
    a branch is looked at again only once it has come to the front; what it adds has usually grown.
    One without which the error is not finite stays.

    Args:
        free: the branches to choose from.
        cost: shares of the whole, by number of a node; others cost nothing.
        error: of the outputs; the mean square, so that errors of branches about add up.
        enough: the share of the whole to save.
        gone: branches that have gone before.
    """
    nodes = _nodes(gone)
    chosen, steps = list(gone), list[Step]()
    last = error(chosen) if chosen else 0.0
    waiting = [(-math.inf, k, branch, 0.0, -1) for k, branch in enumerate(free)]
    heapify(waiting)
    while waiting and _sum(cost, nodes) < enough:
        _, k, branch, found, seen = heappop(waiting)
        more = _sum(cost, branch.nodes - nodes)
        if more <= TINY:
            continue  # part of another that has gone
        if seen != len(steps):
            found = error([*chosen, branch])
            if math.isfinite(found):
                heappush(waiting, ((found - last) / more, k, branch, found, len(steps)))
            continue
        chosen.append(branch)
        nodes |= branch.nodes
        last = found  # nothing has gone since it was looked at
        steps.append(Step(branch, last, _sum(cost, nodes)))
    return tuple(steps)


def _nodes(found: Iterable[Branch]) -> frozenset[int]:
    return frozenset[int]().union(*(each.nodes for each in found))


def _sum(cost: Mapping[int, float], nodes: Iterable[int]) -> float:
    return sum(cost.get(index, 0.0) for index in nodes)
