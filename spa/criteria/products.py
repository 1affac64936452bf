"""Channels that no site reads: queries and keys, whose products weigh other activations.

No weight can make up for such a channel, so what it costs is tried: the channels of least energy,
E[a²] E[b²] of both factors, are silenced in one factor, more and more of them, and the error is
measured at the sites that come next, in the same measure as that of all other channels.  Where
there is nothing to try, a channel costs its share of the weights' energy in all that the next sites
read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling, Group
from spa.criteria.activation import ActivationMetric, hull
from spa.criteria.aggregate import aggregate
from spa.criteria.context import Context, Scores
from spa.criteria.magnitude import squares
from spa.executor.cells import Cells
from spa.executor.sinks import Ways
from spa.executor.sites import Site, concerned, sites_of
from spa.executor.stream import Part, Stream
from spa.graph.model import Node

LEVELS = 8  # numbers of silenced channels that are tried
BATCHES = 16  # batches they are tried on


def fill(context: Context, scores: Scores, without: list[Group], metric: ActivationMetric) -> None:
    """Score the groups that no site reads, in `scores` `[labels]` by unit, from those that are."""
    if not without:
        return
    coupling, feeds, device = context.coupling, context.feeds, context.device
    energy = aggregate(coupling, squares, "sum")
    after = _Next(coupling, scores)
    trials: list[tuple[Any, Group, list[Site]]] = []
    for group in without:
        own = energy[group.cells]
        nodes = after.products(group)
        sites = [after.sites[k] for k in sorted(after.reached(nodes))]
        scores[group.cells] = after.total(sites) * own / max(float(own.sum()), 1e-30)
        if len(nodes) == 1 and sites:
            trials.append((nodes[0], group, sites))
    if not trials:
        return
    some = feeds[:: -(-len(feeds) // BATCHES)]
    stream = Stream(coupling.graph.proto, coupling.graph, some, device, metric.seen.statistics)
    for node, group, sites in sorted(trials, key=lambda t: int(t[0].index)):
        stream.run_to(stream.find(node.outputs[0]))
        try:
            trial = _Trial(coupling, stream, node, group, sites, metric)
        except ValueError:
            continue  # a factor holds not all channels, or not equally often
        slopes = trial.slopes()
        if np.isfinite(slopes).all():  # else a probe overflowed, and nothing can be said
            scores[trial.cells] = slopes


class _Trial:
    """One group whose channels are silenced by degrees.

    `cells` are its units in the order of their energies, `[cells, n]`.
    """

    def __init__(
        self,
        coupling: Coupling,
        stream: Stream,
        node: Node,
        group: Group,
        sites: list[Site],
        metric: ActivationMetric,
    ) -> None:
        images, root = coupling.notes.images, coupling.root
        self.factors = [Cells(images[name], root, group.cells) for name in node.inputs[:2]]
        self.name, self.stream, self.sites, self.metric = node.inputs[0], stream, sites, metric
        energy = np.ones(group.cells.shape)
        for cells, name in zip(self.factors, node.inputs, strict=False):
            parts = [np.square(cells.columns(x)).mean((2, 3)) for x in stream.values[name]]
            energy *= np.mean(parts, axis=0)
        self.order = np.argsort(energy, axis=1, kind="stable")
        self.cells = np.take_along_axis(group.cells, self.order, axis=1)

    def slopes(self) -> Scores:
        """Cost of each channel in order, `[n]`, such that sums of scores are the error."""
        n = self.cells.shape[1]
        counts = np.unique(np.linspace(0, n, min(LEVELS, n) + 1).astype(int))
        errors = np.concatenate([[0.0], self._errors(counts[1:])])
        if not np.isfinite(errors).all():
            return errors
        steps = np.repeat(np.diff(errors) / np.diff(counts), np.diff(counts)) / len(self.cells)
        return hull(steps)

    def _errors(self, counts: NDArray[np.int64]) -> Scores:
        """Summed errors of the next sites with so many channels of each cell silenced."""
        stop = max(self.stream.find(s.y) for s in self.sites) + 1
        part: Part = self.stream.part(stop, [s.y for s in self.sites])
        found = np.zeros(len(counts))
        for k in range(self.stream.count):
            values = part.inputs_of(self.stream, k)
            whole = part(values)
            for i, count in enumerate(counts):
                less = self.factors[0].silenced(values[self.name], self.order[:, :count])
                made = part({**values, self.name: less})
                found[i] += sum(self.metric.error(s, made[s.y] - whole[s.y]) for s in self.sites)
        return found / self.stream.count


class _Next:
    """The sites that are reached next."""

    def __init__(self, coupling: Coupling, scores: Scores) -> None:
        self.coupling, self.scores = coupling, scores
        self.sites = {s.node.index: s for s in sites_of(coupling) if concerned(s, coupling)}
        self.users = Ways(coupling.graph).users

    def total(self, sites: list[Site]) -> float:
        """Summed scores of all units that some sites read; 1 where there are none."""
        units = np.zeros(len(self.scores), bool)
        for site in sites:
            units[site.units(self.coupling)] = True
        units[0] = False
        return float(self.scores[units].sum()) or 1.0

    def products(self, group: Group) -> list[Any]:
        """The nodes that contract channels of a group with one another."""
        mine = np.zeros(len(self.scores), bool)
        mine[group.cells] = True
        root = self.coupling.root
        return [
            self.coupling.graph.at(p.node)
            for p in self.coupling.notes.params.values()
            if p.tensor is None and any(mine[root[q.ids]].any() for _, q in p.maps)
        ]

    def reached(self, nodes: list[Node]) -> set[int]:
        """Numbers of the first sites on every way from some nodes."""
        nodes = list(nodes)
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
