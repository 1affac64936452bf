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


class Order:
    """Branches in the order in which to lose them, found as far as somebody asks.

    The next one is that whose loss adds least to the error for what it saves: greedy, and lazy, as
    a branch is looked at again only once it has come to the front; what it adds has usually grown.
    One without which the error is not finite stays.
    """

    def __init__(
        self,
        free: Iterable[Branch],
        cost: Mapping[int, float],
        error: Error,
        gone: Sequence[Branch] = (),
    ) -> None:
        """Begin with nothing lost.

        Args:
            free: the branches to choose from.
            cost: shares of the whole, by number of a node; others cost nothing.
            error: of the outputs; the mean square, so that errors of branches about add up.
            gone: branches that have gone before.
        """
        self._cost, self._error = cost, error
        self._nodes, self._chosen, self._steps = _nodes(gone), list(gone), list[Step]()
        self._first = _sum(cost, self._nodes)
        self._last = error(self._chosen) if gone else 0.0
        self._waiting = [(-math.inf, k, branch, 0.0, -1) for k, branch in enumerate(free)]
        heapify(self._waiting)

    def until(self, enough: float) -> tuple[Step, ...]:
        """So many as save a share of the whole; all there are, where these save less."""
        while self._waiting and self._saved(len(self._steps)) < enough:
            self._look()
        count = sum(self._saved(k) < enough for k in range(len(self._steps)))
        return tuple(self._steps[:count])

    def _saved(self, count: int) -> float:
        return self._steps[count - 1].saved if count else self._first

    def _look(self) -> None:
        """Look at the branch at the front; where it is still there then, it goes."""
        _, k, branch, found, seen = heappop(self._waiting)
        more = _sum(self._cost, branch.nodes - self._nodes)
        if more <= TINY:
            return  # part of another that has gone
        if seen != len(self._steps):
            found = self._error([*self._chosen, branch])
            if math.isfinite(found):
                again = (found - self._last) / more
                heappush(self._waiting, (again, k, branch, found, len(self._steps)))
            return
        self._chosen.append(branch)
        self._nodes |= branch.nodes
        self._last = found  # nothing has gone since it was looked at
        self._steps.append(Step(branch, found, _sum(self._cost, self._nodes)))


def _nodes(found: Iterable[Branch]) -> frozenset[int]:
    return frozenset[int]().union(*(each.nodes for each in found))


def _sum(cost: Mapping[int, float], nodes: Iterable[int]) -> float:
    return sum(cost.get(index, 0.0) for index in nodes)
