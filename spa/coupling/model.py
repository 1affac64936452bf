"""The result of the analysis: groups of channels that may be dropped, and what is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Graph
from spa.labels import Ids
from spa.recipe import Heads
from spa.trace import Collect, Reason, Roots

KeptUnits = NDArray[np.bool_]
"""What a choice keeps: bool `[labels]`, by unit; `Coupling.everything()` is all of it."""


class Member(NamedTuple):
    """A stored tensor cut by a group: `axis` of the tensor, and the role it plays."""

    tensor: str
    axis: int
    role: str
    node: str


@dataclass(frozen=True, eq=False)
class Group:
    """Coupled channels: every cell (row) keeps the same number of its units (columns).

    `cells` is int64 `[cells, n]`; a plain convolution has one cell, attention one per head.  Where
    whole heads are units, `width` is how many channels of `tensor`, which makes them, each is.
    """

    id: int
    name: str
    cells: Ids
    members: tuple[Member, ...]
    width: int = 1
    tensor: str = ""

    @property
    def size(self) -> int:
        """Units in one cell."""
        return int(self.cells.shape[1])

    @property
    def channels(self) -> int:
        """Units in all cells."""
        return int(self.cells.size)


@dataclass(frozen=True)
class Frozen:
    """Channels that cannot go: how many, of which tensor, and the first reason found."""

    channels: int
    tensor: str
    reason: Reason


@dataclass(frozen=True, eq=False)
class Coupling:
    """What was learnt about a graph: notes of the sweep, their solution, the groups.

    `steady` are the numbers of nodes that fit every choice, because they fit one in which not all
    of their channels died.  `heads` says how finely attention is cut.
    """

    graph: Graph
    notes: Collect
    roots: Roots
    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    steady: frozenset[int] = frozenset()
    heads: Heads = "free"

    @property
    def root(self) -> Ids:
        """The unit of every label, int64 `[labels]`; 0 is frozen."""
        return self.roots.solid

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """The group of every unit, int64 `[labels]`; -1 for none."""
        found = np.full(self.notes.size, -1)
        for group in self.groups:
            found[group.cells] = group.id
        return found

    def everything(self) -> NDArray[np.bool_]:
        """The choice that keeps all: bool `[labels]`, indexed by unit."""
        return np.ones(self.notes.size, bool)

    @property
    def channels(self) -> int:
        """How many channels the groups hold."""
        return sum(g.channels for g in self.groups)
