"""OBSPA: what the consumers of a channel lose without it, once they have made up for it.

At a site with weight W and inputs X, H = Xc Xcᵀ + λI.  Removing the columns p of one channel costs
tr(W_p [(H⁻¹)_pp]⁻¹ W_pᵀ) (Optimal Brain Surgeon, structured; arXiv 2403.18955), a share of the
site's output energy.  A channel's cost is the sum over its sites.  Channels go greedily, cheapest
first, and after each step W -= W_p [(H⁻¹)_pp]⁻¹ (H⁻¹)_p: and H⁻¹ is downdated, so correlated
channels are not both thought free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from spa.coupling.model import Coupling, Group
from spa.criteria.aggregate import aggregate
from spa.criteria.magnitude import squares
from spa.executor.least_squares import Moments
from spa.executor.sites import Site, sites_of
from spa.executor.stream import Stream

RIDGE = 1e-2
STEPS = 64  # at most so many greedy steps per group
SPREAD = 1e-6  # of an output's energy: what varies less is rounding
LARGEST = 2400  # features of a site whose inverse is kept; beyond, kernel positions are summed
Matrix = NDArray[np.float64]


class _Problem:
    """One site during the greedy removal: W, H⁻¹, and which columns belong to which unit."""

    def __init__(self, site: Site, moments: Moments) -> None:
        gram, _ = moments.centred(True)
        weight, units = site.weight, site.units
        spread = float((moments.yy - moments.y**2 / moments.count).sum())
        # An output that hardly varies costs nothing: the bias takes over.
        self.scale = 1.0 / max(spread, SPREAD * float(moments.yy.sum()), 1e-30)
        if len(units) > LARGEST:
            gram, weight, units = _summed(gram, weight, units)
        lam = RIDGE * float(np.mean(np.diag(gram))) + 1e-12
        self.inverse = np.linalg.inv(gram + lam * np.eye(len(gram)))
        self.weight = weight.copy()
        self.units = units

    def copy(self) -> _Problem:
        """The same problem, for one group to take apart."""
        twin = copy(self)
        twin.weight, twin.inverse = self.weight.copy(), self.inverse.copy()
        return twin

    def costs(self, total: NDArray[np.float64], alive: NDArray[np.bool_]) -> None:
        """Add to `total` (by unit) what removing each living unit alone would cost."""
        units = np.unique(self.units[alive[self.units]])
        units = units[units != 0]
        if not units.size:
            return
        order = np.argsort(self.units, kind="stable")
        ranked = self.units[order]
        starts = np.searchsorted(ranked, units)
        counts = np.searchsorted(ranked, units, side="right") - starts
        for size in np.unique(counts):
            these = units[counts == size]
            index = order[starts[counts == size][:, None] + np.arange(size)]
            blocks = self.inverse[index[:, :, None], index[:, None, :]]
            columns = self.weight[:, index]  # rows, units, size
            solved = np.linalg.solve(blocks, columns.transpose(1, 2, 0))
            total[these] += np.einsum("usr,rus->u", solved, columns) * self.scale

    def remove(self, gone: NDArray[np.int64]) -> None:
        """Take units out: the other columns take over, H⁻¹ forgets them."""
        p = np.flatnonzero(np.isin(self.units, gone))
        if not p.size:
            return
        block = np.linalg.solve(self.inverse[np.ix_(p, p)], self.inverse[p])
        self.weight -= self.weight[:, p] @ block
        self.inverse -= self.inverse[:, p] @ block
        left = np.setdiff1d(np.arange(len(self.units)), p)
        self.weight, self.units = self.weight[:, left], self.units[left]
        self.inverse = self.inverse[np.ix_(left, left)]


def _summed(
    gram: Matrix, weight: Matrix, units: NDArray[np.int64]
) -> tuple[Matrix, Matrix, NDArray[np.int64]]:
    """Channel mixing for wide sites: one column per unit, kernel positions averaged."""
    own, number = np.unique(units, return_inverse=True)
    pick = np.zeros((len(own), len(units)))
    pick[number, np.arange(len(units))] = 1.0
    share = pick / pick.sum(1, keepdims=True)
    norms = np.sqrt((weight**2) @ pick.T)
    return pick @ gram @ share.T, norms, own


def obs(
    coupling: Coupling, feeds: Sequence[Mapping[str, NDArray[Any]]], device: Any = "cpu"
) -> NDArray[np.float64]:
    """Cost per unit in the order of greedy removal, `[labels]`; comparable between groups."""
    problems = _problems(coupling, feeds, device)
    scores = np.zeros(coupling.notes.size)
    norms = np.sqrt(aggregate(coupling, squares, "sum"))
    for group in coupling.groups:
        units = np.unique(group.cells)
        # A site may read several groups; each is judged with the others in place.
        mine = [p.copy() for p in problems if np.isin(p.units, units).any()]
        if mine:
            _greedy(group, mine, scores)
        else:  # no site reads it (queries and keys): a channel costs its share of the energy
            own = norms[group.cells] ** 2
            scores[group.cells] = own / max(float(own.sum()), 1e-30)
    return scores


def _problems(coupling: Coupling, feeds: Any, device: Any) -> list[_Problem]:
    graph = coupling.graph
    types = {
        n: int(helper.np_dtype_to_tensor_dtype(d)) for n, d in graph.dtypes.items() if d.kind != "O"
    }
    stream = Stream(graph.proto, feeds, types, graph.source.base_dir, device)
    samples = sum(len(next(iter(f.values()))) for f in feeds)
    found = []
    for site in sites_of(coupling):
        x, out = site.node.inputs[0], site.node.outputs[0]
        stream.run_to(stream.find(out) + 1, (x, out))
        moments = Moments(site.weight.shape[1], site.weight.shape[0])
        for k in range(stream.count):
            moments.add(*site.columns(stream.values[x][k], stream.values[out][k], samples))
        stream.release(x, out)
        if moments.finite:  # else a probe overflowed, and nothing can be said
            found.append(_Problem(site, moments))
    return found


def _greedy(group: Group, problems: list[_Problem], scores: NDArray[np.float64]) -> None:
    """Order the units of one group; a score is what the step costs, never less than before."""
    alive = np.ones(len(scores), bool)
    cells = group.cells.copy()
    width = cells.shape[1]
    batch = max(1, -(-width // STEPS))
    floor = np.zeros((len(cells), 1))
    while width > 0:
        total = np.zeros(len(scores))
        for p in problems:
            p.costs(total, alive)
        order = np.argsort(total[cells], axis=1, kind="stable")
        cells = np.take_along_axis(cells, order, axis=1)
        take = min(batch, width)
        gone = cells[:, :take]
        floor = np.maximum(np.maximum.accumulate(total[gone], axis=1), floor)
        scores[gone] = floor
        floor = floor[:, -1:]
        alive[gone] = False
        if width > take:
            for p in problems:
                p.remove(gone.ravel())
        cells = cells[:, take:]
        width -= take
