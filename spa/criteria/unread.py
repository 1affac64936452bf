"""Channels that no site reads: queries and keys, whose products weigh other activations.

A product of activations only weighs what comes after it, so without any of these channels the
sites that are reached next lose at most all that they read.  A channel costs its share of the
weights' energy in that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling, Group
from spa.criteria.aggregate import aggregate
from spa.criteria.magnitude import squares
from spa.executor.sinks import Ways
from spa.executor.sites import concerned, sites_of


def fill(coupling: Coupling, scores: NDArray[np.float64], unread: list[Group]) -> None:
    """Score the groups that no site reads, in `scores` `[labels]` by unit, from those that are."""
    if not unread:
        return
    energy = aggregate(coupling, squares, "sum")
    after = _Next(coupling, scores)
    for group in unread:
        own = energy[group.cells]
        scores[group.cells] = after.total(group) * own / max(float(own.sum()), 1e-30)


class _Next:
    """What the sites that are reached next lose, if they lose all they read."""

    def __init__(self, coupling: Coupling, scores: NDArray[np.float64]) -> None:
        self.coupling, self.scores = coupling, scores
        self.sites = {s.node.index: s for s in sites_of(coupling) if concerned(s, coupling)}
        self.users = Ways(coupling.graph).users

    def total(self, group: Group) -> float:
        """Summed scores of all units that the next sites read; 1 where no site follows."""
        units = np.zeros(len(self.scores), bool)
        for index in self._reached(group):
            units[self.sites[index].units(self.coupling)] = True
        units[0] = False
        return float(self.scores[units].sum()) or 1.0

    def _reached(self, group: Group) -> set[int]:
        """Numbers of the first sites on every way from the products that read a group."""
        mine = np.zeros(len(self.scores), bool)
        mine[group.cells] = True
        root = self.coupling.root
        nodes = [
            self.coupling.graph.nodes[p.node]
            for p in self.coupling.notes.params.values()
            if p.tensor is None and any(mine[root[q.ids]].any() for _, q in p.planes)
        ]
        seen, found = set(), set()
        while nodes:
            node = nodes.pop()
            if node.index in seen:
                continue
            seen.add(node.index)
            if node.index in self.sites:
                found.add(node.index)
                continue
            nodes += [user for name in node.outputs for user, _ in self.users.get(name, ())]
        return found
