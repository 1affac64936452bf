"""Sites: the nodes that contract a stored weight, seen as `Y = W X + b` on the original graph.

What they are expected to cost is in seconds of some processor: only ratios count.  Sessions run at
one speed, Gram matrices of single precision at another, and inverses of double precision at a
third; which of them matters depends on a layer's width and size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.columns import ENOUGH, PER_FEATURE, places_for
from spa.executor.forms import Form, form_of
from spa.executor.sinks import Sink, Ways
from spa.graph.model import Graph, Node
from spa.rules import trait_of
from spa.trace import READS, Param

Array = NDArray[Any]
RUN, GRAM, SOLVE = 4e10, 6e10, 1e10
"""Multiply-accumulates per second: of a session, in single and in double precision."""
EACH = 0.02  # seconds for what every site takes: a session, and columns laid out


@dataclass(frozen=True, eq=False)
class Site:
    """One contraction: input `input` of `node` is the stored weight `tensor`, `x` the other.

    `form` makes matrices of all three; `groups` is that of a convolution.
    """

    node: Node
    input: int
    tensor: str
    form: Form
    param: Param
    sink: Sink

    @property
    def x(self) -> str:
        """The tensor whose channels it reads."""
        return str(self.node.inputs[1 - self.input])

    @property
    def y(self) -> str:
        """The tensor it makes."""
        return str(self.node.outputs[0])

    @property
    def bias(self) -> int | None:
        """The input of the node that is added to its rows, if the operator has one."""
        how = trait_of(self.node).contracts
        return None if how is None else how.bias

    def groups(self) -> int:
        """The number of groups, if it is a convolution."""
        return int(self.node.attrs.get("group", 1))

    def weight(self, coupling: Coupling) -> NDArray[np.float64]:
        """The stored weight as `[groups, rows, features]`, float64."""
        stored = np.asarray(coupling.graph.consts[self.tensor])
        return self.form.matrix(stored.astype(np.float64), self.groups())

    def units(self, coupling: Coupling) -> NDArray[np.int64]:
        """The unit each feature belongs to, `[groups, features]`; 0 where it cannot go."""
        index_map = self.param.index_map(READS)
        shape = coupling.graph.shapes[self.tensor]
        if index_map is None:
            return np.zeros(self.form.matrix(np.zeros(shape, bool), self.groups()).shape[::2], int)
        laid = np.broadcast_to(coupling.root[index_map.ids], self.param.view).reshape(shape)
        return self.form.matrix(laid, self.groups())[:, 0].astype(np.int64)

    def columns(
        self, x: Array, shape: Sequence[int], batches: int, groups: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None, int]:
        """Columns `[groups, features, m]` of one of several batches, places taken, and samples.

        As many as are enough: always the same for a batch of this size.  `shape` and `groups` are
        those of the weight that will be multiplied with them.
        """
        groups = self.groups() if groups is None else groups
        places, samples = self.form.positions(x.shape, shape)
        features = self.form.features(shape, groups)
        at = places_for(features, places, samples * batches, self.node.index)
        return np.asarray(self.form.columns(x, shape, groups, at), np.float32), at, samples


def sites_of(coupling: Coupling) -> Iterator[Site]:
    """All contractions with a stored floating-point weight, in the order of the graph."""
    graph, notes = coupling.graph, coupling.notes
    ways = Ways(graph)
    for node in graph.nodes:
        if trait_of(node).contracts is None or len(node.outputs) != 1:
            continue
        for i in (1, 0):
            param = notes.params.get((node.index, i))
            if param is None or param.tensor is None or not _activation(graph, node, 1 - i):
                continue
            form = form_of(node, i, graph.shapes)
            if form is not None and prod(param.view) == prod(graph.shapes[param.tensor]):
                yield Site(node, i, param.tensor, form, param, ways.sink(node, form.axis))
            break


def _activation(graph: Graph, node: Node, i: int) -> bool:
    name = node.inputs[i]
    return bool(name) and name not in graph.consts and name in graph.shapes


def concerned(site: Site, coupling: Coupling) -> bool:
    """Whether some channel that the site reads may go."""
    index_map = site.param.index_map(READS)
    return index_map is not None and bool(coupling.root[index_map.ids].any())


def passes(sites: Sequence[Site], feeds: Sequence[Mapping[str, Array]]) -> list[float]:
    """Seconds to run all inputs up to each site."""
    samples = sum(max((len(x) for x in feed.values() if x.ndim), default=1) for feed in feeds)
    return [EACH + samples * prod(s.param.view) * s.param.times / RUN for s in sites]


def grams(sites: Sequence[Site], coupling: Coupling) -> list[float]:
    """Seconds for a Gram matrix of each site's inputs."""
    return [
        groups * features**2 * max(ENOUGH, PER_FEATURE * features) / GRAM
        for groups, features in _sizes(sites, coupling)
    ]


def solves(sites: Sequence[Site], coupling: Coupling) -> list[float]:
    """Seconds to invert a few matrices of each site."""
    return [groups * features**3 / SOLVE for groups, features in _sizes(sites, coupling)]


def _sizes(sites: Sequence[Site], coupling: Coupling) -> list[tuple[int, int]]:
    """Groups of each site, and features of each group."""
    shapes = coupling.graph.shapes
    return [(s.groups(), s.form.features(shapes[s.tensor], s.groups())) for s in sites]
