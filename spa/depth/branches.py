"""Branches: what lies between a tensor x and a sum y = x + f(x), or any y, for which x may stand.

Nobody looks for blocks of an architecture.  Of every operator that adds two tensors of one shape,
one operand is the *shortcut* if the other is computed of it, or of a tensor that it is a linear map
of (as a projection).  The branch is all that nobody needs once the other operand is gone.  Where
there is no sum, `spa.depth.runs` looks for runs of nodes that may become the identity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from spa.coupling.cost import is_parameter
from spa.coupling.model import Coupling
from spa.coupling.per_node import macs_of_nodes
from spa.depth.reach import Reach, summands
from spa.depth.runs import runs
from spa.graph.model import Graph, Node

Kind = Literal["residual", "run"]


@dataclass(frozen=True, eq=False)
class Branch:
    """What goes where `name`, the sum of `shortcut` and `end`, becomes its shortcut alone.

    `add` is the number of the node that adds, `nodes` are those of the branch without it.  `params`
    and `macs` are what only they store and multiply; of nested branches both count the inner one.
    Of a run, which ends in no sum, `end` is `name`, and the node that makes it goes, too.
    """

    name: str
    add: int
    shortcut: str
    end: str
    nodes: frozenset[int]
    params: int
    macs: float

    @property
    def kind(self) -> Kind:
        """Whether it ends in a sum."""
        return "run" if self.end == self.name else "residual"


@dataclass(frozen=True)
class Refused:
    """A sum that looks like the end of a branch, and why it is none."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Branches:
    """All of a model, in the order in which they end; by name, what was refused."""

    found: tuple[Branch, ...]
    refused: Mapping[str, Refused]


def branches(coupling: Coupling) -> Branches:
    """The branches of a model whose costs are known."""
    graph, reach = coupling.graph, Reach(coupling.graph)
    macs: dict[int, float] = defaultdict(float)
    for index, several in macs_of_nodes(coupling).items():
        macs[reach.carrier[index]] += several
    finder = _Finder(graph, reach, macs)
    ends = [finder.at(node) for node in graph.nodes if _adds(graph, node)]
    found = [each for each in ends if isinstance(each, Branch)]
    known = {each.name: finder.multiplies(each.nodes) for each in found}
    for run in runs(coupling, reach, finder.multiplies, known):
        gone = reach.only_for(run.last, None, run.first)
        costs = finder.params(gone), finder.sum_of(gone)
        found.append(Branch(run.last, reach.maker[run.last], run.first, run.last, gone, *costs))
    return Branches(
        tuple(sorted(found, key=lambda each: each.add)),
        {each.name: each for each in ends if isinstance(each, Refused)},
    )


def _adds(graph: Graph, node: Node) -> bool:
    """Whether a node adds two tensors that are computed."""
    names = summands(node)
    return len(set(names)) == 2 and not any(name in graph.consts for name in names)


class _Finder:
    """Looks at one sum after the other."""

    def __init__(self, graph: Graph, reach: Reach, macs: Mapping[int, float]) -> None:
        self.graph, self.reach, self.macs = graph, reach, macs

    def at(self, add: Node) -> Branch | Refused | None:
        """The branch that ends in a sum; None where nothing like it does."""
        a, b = summands(add)
        asked = [self._from(add, s, f) for s, f in ((a, b), (b, a))]
        found = [each for each in asked if isinstance(each, Branch)]
        if not found:
            return next((each for each in asked if each is not None), None)
        return max(found, key=lambda each: (self._is_whole(each), each.macs))

    def _is_whole(self, branch: Branch) -> bool:
        """Whether the shortcut is the very tensor that the branch starts from."""
        return self.reach.is_of(branch.end, branch.shortcut)

    def _from(self, add: Node, shortcut: str, end: str) -> Branch | Refused | None:
        start = self._start(shortcut, end)
        if start is None or self.reach.is_of(shortcut, end):
            return None
        name = add.outputs[0]
        gone = self.reach.only_for(end, add)
        way = self.reach.between(self.reach.made_with(start), end)
        contracts = [node for node in way if self.macs.get(node.index)]
        if not contracts:
            return None
        if not gone or any(node.index not in gone for node in contracts):
            words = self.reach.outside(reversed(way), gone.union(n.index for n in (*way, add)))
            return Refused(name, f"something inside it is needed outside: {words}")
        if not self._fits(name, shortcut, end):
            return Refused(name, f"{add} stretches one of its inputs over the other")
        return Branch(name, add.index, shortcut, end, gone, self.params(gone), self.sum_of(gone))

    def multiplies(self, nodes: Iterable[int]) -> frozenset[int]:
        """Those that cost MACs."""
        return frozenset(index for index in nodes if self.macs.get(index))

    def sum_of(self, nodes: Iterable[int]) -> float:
        """The MACs of nodes."""
        return sum(self.macs.get(index, 0.0) for index in nodes)

    def _start(self, shortcut: str, end: str) -> str | None:
        """The last tensor that the shortcut is linear in and the other operand is computed of."""
        if self.reach.is_of(end, shortcut):
            return shortcut
        both = [t for t in self.reach.linear(shortcut) if self.reach.is_of(end, t)]
        return max(both, key=self.reach.order, default=None)

    def _fits(self, *names: str) -> bool:
        """Whether tensors have one shape at every size; the first is the sum of the others."""
        shapes = {self.graph.shapes.get(name) for name in names}
        return len(shapes) == 1 and None not in shapes and names[0] not in self.graph.stretched

    def params(self, gone: frozenset[int]) -> int:
        """Stored numbers that nobody outside reads."""
        names = {name for index in gone for name in self._stored(self.graph.nodes[index])}
        return sum(prod(self.graph.shapes[name]) for name in names if self._owned(name, gone))

    def _stored(self, node: Node) -> list[str]:
        names = (*node.inputs, *node.captured)
        return [name for name in names if name in self.graph.consts]

    def _owned(self, name: str, gone: frozenset[int]) -> bool:
        users = {self.reach.carrier[user.index] for user in self.graph.readers[name]}
        return users <= gone and is_parameter(self.graph, name)
