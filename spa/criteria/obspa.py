"""OBSPA: what the consumers of a channel lose without it, once they have made up for it.

At a site with weight W and inputs X, H is Xc Xcᵀ with its correlations shrunken.  Removing the
columns p of one channel costs tr(W_p [(H⁻¹)_pp]⁻¹ W_pᵀ) (Optimal Brain Surgeon, structured; arXiv
2403.18955), as a share of what counts at its sink.  How strongly channels fire on the inputs at
hand is believed only in part (see `Problem.level`).  Channels go greedily, cheapest first, and
after each step W -= W_p [(H⁻¹)_pp]⁻¹ (H⁻¹)_p: and H⁻¹ is downdated, so correlated channels are not
both thought free.  What a channel costs at several sites adds in amplitude: it is one signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling, Group
from spa.criteria.activation import ActivationMetric, hull
from spa.criteria.context import Context, criterion
from spa.criteria.products import fill
from spa.devices import Device
from spa.events import Work
from spa.executor.least_squares import Moments, shrunken
from spa.executor.sites import Site, concerned, grams, passes, sites_of, solves
from spa.executor.stream import Stream
from spa.executor.survey import survey
from spa.labels import Ids

RIDGE = 1e-2
STEPS = 32  # at most so many greedy steps per group
BELIEF = 0.75  # exponent of a channel's energy: 1 takes it as measured, 0 takes all for alike
FAINT = 1 / 36  # of the mean energy: fainter channels are raised as much as these
LARGEST = 2400  # features of a site whose inverse is kept; beyond, kernel positions are summed
GREEDY = 2.0  # what taking a site apart costs, in inverses of its Gram matrix
Matrix = NDArray[np.float64]


class Problem:
    """One site (or one group of it) during the greedy removal: W, H⁻¹, and whose the columns are.

    Rows of `weight` `[rows, features]` are scaled as they arrive at what the site feeds, of which
    the whole is 1 / `scale`; `gram` is centred Xc Xcᵀ per column, made from `worth` independent
    ones; `units` `[features]` is 0 where a feature cannot go.
    """

    def __init__(
        self, weight: Matrix, gram: Matrix, units: Ids, worth: float, scale: float
    ) -> None:
        self.energy = np.maximum(np.diag(gram), 0.0)  # what never varies may be less, by rounding
        self.inverse = np.linalg.inv(shrunken(gram[None], worth, RIDGE)[0])
        self.weight, self.units, self.scale = weight, units, scale

    def copy(self) -> Problem:
        """The same problem, for one group to take apart."""
        other = copy(self)
        other.weight, other.inverse = self.weight.copy(), self.inverse.copy()
        return other

    def level(self) -> None:
        """Bring the energies of channels nearer to one another; their sum and correlations stay.

        With S diagonal, one number per channel, H becomes S H S: the energy e of a channel becomes
        its power e^BELIEF.  Other inputs would excite the channels differently, the more so where
        these are made up: what is faint here is not safe to go, nor what is loud the most needed.
        """
        own, number = np.unique(self.units, return_inverse=True)
        total = np.bincount(number, self.energy, len(own))
        mean = float(self.energy.mean())
        if not mean > 0:
            return
        energy = np.maximum(total / np.bincount(number, minlength=len(own)), FAINT * mean)
        square = (energy / mean) ** (BELIEF - 1)
        square *= total.sum() / (square @ total)
        scale = np.sqrt(square)[number]
        self.inverse /= scale[:, None] * scale

    def costs(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Matrix]:
        """Units that are kept, and what removing each of them alone would cost."""
        units = np.unique(self.units[kept[self.units]])
        units = units[units != 0]
        found = np.zeros(len(units))
        order = np.argsort(self.units, kind="stable")
        ranked = self.units[order]
        starts = np.searchsorted(ranked, units)
        counts = np.searchsorted(ranked, units, side="right") - starts
        for size in np.unique(counts):
            same = counts == size
            index = order[starts[same][:, None] + np.arange(size)]
            columns = self.weight[:, index]  # rows, units, size
            if size == 1:
                diagonal = self.inverse[index[:, 0], index[:, 0]]
                found[same] = np.square(columns[:, :, 0]).sum(0) / diagonal
                continue
            blocks = self.inverse[index[:, :, None], index[:, None, :]]
            solved = np.linalg.solve(blocks, columns.transpose(1, 2, 0))
            found[same] = np.einsum("usr,rus->u", solved, columns)
        return units, np.maximum(found, 0.0) * self.scale

    def remove(self, gone: NDArray[np.bool_]) -> None:
        """Take units out (bool by unit): the other columns take over, H⁻¹ forgets them."""
        out = gone[self.units]
        if not out.any():
            return
        p, left = np.flatnonzero(out), np.flatnonzero(~out)
        block = np.linalg.solve(self.inverse[np.ix_(p, p)], self.inverse[np.ix_(p, left)])
        self.weight = self.weight[:, left] - self.weight[:, p] @ block
        self.inverse = self.inverse[np.ix_(left, left)] - self.inverse[np.ix_(left, p)] @ block
        self.units = self.units[left]


class Pool:
    """Channel mixing for wide sites: one column per unit, kernel positions averaged.

    `units` `[features]` says whose the columns are, `own` `[units]` which there are.
    """

    def __init__(self, units: Ids) -> None:
        self.own, self.sizes = np.unique(units, return_counts=True)
        self._order = np.argsort(units, kind="stable")
        self._starts = np.cumsum([0, *self.sizes])[:-1]

    def _sums(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(rows[self._order], self._starts, axis=0)

    def means(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Columns `[features, m]`, averaged: `[units, m]`."""
        sizes = self.sizes[:, None].astype(np.float32)
        return np.asarray(self._sums(columns) / sizes, np.float32)

    def gram(self, averaged: Matrix) -> Matrix:
        """What sums of columns have to do with averages, from the Gram matrix of the averages."""
        return self.sizes[:, None] * averaged

    def norms(self, weight: Matrix) -> Matrix:
        """Of a weight `[rows, features]`, over each unit: `[rows, units]`."""
        return np.asarray(np.sqrt(self._sums(np.square(weight).T).T))


class Sums:
    """Moments of what a site reads: of all groups together, or of each where features are pooled.

    `units` `[groups, features]` says whose the features are.
    """

    def __init__(self, units: Ids, device: Device) -> None:
        self.units = units
        self.pools = [Pool(own) for own in units] if units.shape[1] > LARGEST else []
        sizes = [(1, len(pool.own)) for pool in self.pools] or [units.shape]
        self.moments = [Moments(groups, size, device=device) for groups, size in sizes]

    def add(self, columns: NDArray[np.float32], samples: int) -> None:
        """Add a chunk `[groups, features, m]` of so many samples."""
        parts = [pool.means(own)[None] for pool, own in zip(self.pools, columns, strict=False)]
        for moments, part in zip(self.moments, parts or [columns], strict=True):
            moments.add(part, samples=samples)

    @property
    def finite(self) -> bool:
        """Whether there is something, and every sum is a number."""
        return all(moments.finite and moments.count for moments in self.moments)


@criterion(measures=True, comparable=True)
def obspa(context: Context) -> NDArray[np.float64]:
    """What is lost once the other channels have made up for it.

    Optimal Brain Surgeon at everything that reads the channel, greedily, the cheapest channel
    first (see "How it works").  The scores are errors, so that the allocation `curves` can share
    out the budget along them.
    """
    coupling = context.coupling
    work = work_of(context, apart=True)
    metric, problems = problems_of(context, work)
    for problem in problems:
        problem.level()
    work.begin("groups")
    scores = np.zeros(coupling.notes.size)
    without: list[Group] = []
    for group in coupling.groups:
        mine = np.zeros(len(scores), bool)
        mine[group.cells] = True
        # A site may read several groups; each is judged with the others in place.
        own = [p.copy() for p in problems if mine[p.units].any()]
        if own:
            greedy(group, own, scores)
        else:
            without.append(group)
        work.step()
    fill(context, scores, without, metric)
    return scores


def work_of(context: Context, apart: bool = False) -> Work:
    """Sites that are looked at and, if wanted, groups that are taken `apart`, with their costs."""
    coupling = context.coupling
    sites = _concerned(coupling)
    costs = zip(passes(sites, context.feeds), grams(sites, coupling), strict=True)
    parts = {"sites": [run + gram for run, gram in costs]}
    if apart:
        by_unit: dict[int, float] = {}  # the work of all sites that read it
        for site, cost in zip(sites, solves(sites, coupling), strict=True):
            for unit in np.unique(site.units(coupling)).tolist():
                by_unit[unit] = by_unit.get(unit, 0.0) + GREEDY * cost
        firsts = [group.cells.flat[0] for group in coupling.groups]
        parts["groups"] = [by_unit.get(int(first), 0.0) for first in firsts]
    return Work("score", context.callback, parts)


def _concerned(coupling: Coupling) -> list[Site]:
    return [s for s in sites_of(coupling) if concerned(s, coupling)]


def problems_of(
    context: Context, work: Work | None = None
) -> tuple[ActivationMetric, list[Problem]]:
    """Every site that reads something that may go, with its Gram matrix; one dense pass."""
    coupling = context.coupling
    sites = _concerned(coupling)
    if work is not None:
        work.begin("sites")
    sums: dict[int, Sums] = {}

    def look(site: Site, stream: Stream) -> None:
        found = sums[site.node.index] = Sums(site.units(coupling), context.device)
        shape = coupling.graph.shapes[site.tensor]
        for x in stream.values[site.x]:
            columns, _, samples = site.columns(x, shape, stream.count)
            found.add(columns, samples)
        if work is not None:
            work.step()

    wanted = {(s.sink.tensor, s.sink.axis) for s in sites}
    looks = {s.node.index: partial(look, s) for s in sites}
    seen = survey(
        coupling,
        context.feeds,
        wanted,
        batch_norm=context.batch_norm,
        device=context.device,
        looks=looks,
    )
    metric = ActivationMetric(coupling, seen)
    found = [p for s in sites for p in _problems(coupling, s, sums.pop(s.node.index), metric)]
    return metric, found


def _problems(
    coupling: Coupling, site: Site, sums: Sums, metric: ActivationMetric
) -> Iterator[Problem]:
    """One problem per group of a convolution whose channels may go."""
    if not sums.finite:  # a probe overflowed, and nothing can be said
        return
    units = sums.units
    rows, whole = metric.rows(site, site.weight(coupling))
    grams = [moments.centred()[0] / moments.count for moments in sums.moments]
    # A group all of one unit goes with what it makes: a depthwise channel loses nothing.
    for g in np.flatnonzero(units.any(1) & (units != units[:, :1]).any(1)).tolist():
        scale = 1.0 / whole[g]
        if sums.pools:
            pool, own = sums.pools[g], sums.moments[g]
            gram = pool.gram(grams[g][0])
            yield Problem(pool.norms(rows[g]), gram, pool.own, own.worth, scale)
        else:
            yield Problem(rows[g], grams[0][g], units[g], sums.moments[0].worth, scale)


def greedy(group: Group, problems: list[Problem], scores: NDArray[np.float64]) -> None:
    """Order the units of one group, and price them so that sums of scores are the error curve.

    A score is the slope of the convex hull below the curve of errors against channels removed, so
    that it never falls in the order of removal; ties are told apart by that order.
    """
    kept = np.ones(len(scores), bool)
    cells = group.cells.copy()
    width = cells.shape[1]
    batch = max(1, -(-width // STEPS))
    gone: list[NDArray[np.int64]] = []
    costs: list[Matrix] = []
    while width > 0:
        total = _together(problems, kept, len(scores))
        order = np.argsort(total[cells], axis=1, kind="stable")
        cells = np.take_along_axis(cells, order, axis=1)
        take = min(batch, width)
        gone.append(cells[:, :take])
        costs.append(total[gone[-1]])
        kept[gone[-1]] = False
        if width > take:
            removed = np.zeros(len(scores), bool)
            removed[gone[-1]] = True
            for p in problems:
                p.remove(removed)
        cells = cells[:, take:]
        width -= take
    scores[np.concatenate(gone, axis=1)] = hull(np.concatenate(costs, axis=1).mean(0))


def _together(problems: list[Problem], kept: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
    """What removing each kept unit would cost at all sites, `[size]`."""
    amplitude = np.zeros(size)
    for p in problems:
        units, costs = p.costs(kept)
        amplitude[units] += np.sqrt(costs)
    return amplitude**2
