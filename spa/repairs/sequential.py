"""Sequential least squares: the weights that stay take over the work of those that went.

Sites are visited in order. At each, the pruned model's own input X and the dense model's output T
at the same place are there; the weights become the ridge solution of T ~ W X + b.  Where the output
is then added to a residual stream, T also makes up for what the stream has lost so far:
T = dense output + (dense stream - pruned stream) / gain, with the gain of what lies between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa.coupling.model import Coupling, KeptUnits
from spa.devices import Device
from spa.errors import UsageError
from spa.events import Callback, Work, quiet
from spa.executor.cells import select
from spa.executor.channels import along
from spa.executor.sites import Site, grams, passes, sites_of, solves
from spa.executor.stream import Stream
from spa.executor.survey import survey
from spa.graph.model import Node
from spa.graph.tensors import copied
from spa.repairs import full
from spa.repairs.chunk import Rows, no_worse
from spa.repairs.fit import Fit, repair
from spa.repairs.targets import Reference, Targets
from spa.repairs.together import together
from spa.repairs.weights import Weights
from spa.rewrite.shrink import shrink
from spa.trace import READS, Kept

HELD = 8  # every so-manieth batch judges a solution instead of shaping it
Array = NDArray[Any]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Repaired:
    """What was done at one site: relative squared error on held-back inputs, before and after."""

    node: str
    before: float
    after: float
    kept: bool


def reconstruct(
    coupling: Coupling,
    kept: KeptUnits,
    small: ModelProto,
    feeds: Sequence[Mapping[str, Array]],
    *,
    mode: str = "full",
    sequential: bool = True,
    batch_norm: bool = True,
    strength: float = 5e-2,
    device: Device = "cpu",
    callback: Callback = quiet,
    reference: Reference | None = None,
) -> tuple[ModelProto, tuple[Repaired, ...]]:
    """A copy of the cut model `small` with its weights refitted on probe inputs.

    `kept` is what was kept, bool `[labels]` by unit; `mode` is the name of a repair.  Where
    `sequential`, sites are fitted on what the pruned model computes, towards what the dense one
    does; otherwise on the inputs they have in the dense model.  `batch_norm` fits with
    BatchNormalization on the statistics of the probe (see `survey`); `strength` is the ridge, as a
    share of the mean of the Gram matrix's diagonal.  Where `coupling` is of a model that has lost
    branches already, `reference` is the one it should still compute what it did.
    """
    if reference is not None and not _covers(reference, coupling):
        reference = None
    how = mode, sequential, batch_norm, strength, device, reference
    walk = _Walk(coupling, kept, small, feeds, *how)
    sites = walk.sites()
    parts = passes(sites, feeds), grams(sites, coupling), solves(sites, coupling)
    costs = [2 * run + 2 * gram + solve for run, gram, solve in zip(*parts, strict=True)]
    work = Work("reconstruct", callback, {"sites": costs})
    walk.share(sites)
    work.begin("sites")
    for site in sites:
        walk.visit(site)
        work.step()
    return walk.weights.model(), tuple(walk.done)


def _covers(reference: Reference, coupling: Coupling) -> bool:
    """Whether the original has the activations of all sites."""
    return all(reference.makes(site.x, site.y) for site in sites_of(coupling))


class _Walk:
    """The dense and the pruned stream, side by side, and what was done at the sites so far."""

    def __init__(
        self,
        coupling: Coupling,
        kept: KeptUnits,
        small: ModelProto,
        feeds: Sequence[Mapping[str, Array]],
        mode: str,
        sequential: bool,
        batch_norm: bool,
        strength: float,
        device: Device,
        reference: Reference | None,
    ) -> None:
        self.coupling, self.notes, self.reference = coupling, coupling.notes, reference
        graph = self.graph = coupling.graph
        self.left = Kept(coupling.notes, coupling.root, kept)
        self.repair, self.sequential, self.strength = repair[mode], sequential, strength
        every = range(len(feeds))
        self.judge = [k for k in every if k % HELD == HELD - 1] or [*every][-1:]
        self.fit = [k for k in every if k not in self.judge] or self.judge
        copy = copied(small)
        whole = coupling if reference is None else reference.coupling
        seen = survey(whole, feeds, batch_norm=batch_norm, device=device).statistics
        self.consts = {**graph.consts, **seen}
        self.start = partial(Stream, whole.graph.proto, whole.graph, feeds, device, seen)
        self.dense = self.start()
        self.pruned = Stream(copy, graph, feeds, device)
        self.weights = Weights(self.pruned)
        for node in graph.nodes:
            if node.outputs and node.outputs[0] in seen:
                self._move(node, seen[node.outputs[0]])
            for i, name in enumerate(node.inputs):
                if name in seen and name in graph.consts:
                    own = self.weights.node(node).input[i]
                    self.pruned.instead[own] = self._cut(node, i, seen[name])
        self.targets = Targets(
            coupling, self.left, self.dense, self.pruned, self.consts, sequential, reference
        )
        self.needed: deque[tuple[str, ...]] = deque()  # by site that is yet to be visited
        self.done: list[Repaired] = []

    def _move(self, node: Node, affine: Array) -> None:
        """Let the pruned stream move what is left of an output as the dense one does."""
        name = node.outputs[0]
        rank = len(self.graph.shapes[name])
        sides = [select(along(s, rank), self.notes.images[name], self.left) for s in affine]
        self.pruned.instead[name] = np.stack([side.reshape(-1) for side in sides])

    def _cut(self, node: Node, i: int, value: Array) -> Array:
        """What is left of a value for a stored tensor."""
        param = self.notes.params.get((node.index, i))
        if param is None or not any(self.left.touched(p) for _, p in param.maps):
            return value
        return shrink(param, value, self.left)

    def sites(self) -> list[Site]:
        """What can be refitted: from the first site on that has lost something it read."""
        found: list[Site] = []
        for site in sites_of(self.coupling):
            lost = self._lost(site) or self._shortened(site)
            if (lost or (found and self.sequential)) and site.y in self.notes.images:
                found.append(site)
        self.needed = deque(map(self.targets.needs, found))
        return found

    def _shortened(self, site: Site) -> bool:
        """Whether it makes what stands for a lost sum, or comes after one."""
        known = self.reference
        if known is None:
            return False
        return site.sink.tensor in known.stands or site.node.index >= self._first

    @cached_property
    def _first(self) -> int:
        """The first node that reads what stands in the place of a sum."""
        assert self.reference is not None
        names, nodes = self.reference.shortcuts, self.graph.nodes
        return min((n.index for n in nodes if names.intersection(n.inputs)), default=len(nodes))

    def _lost(self, site: Site) -> bool:
        """Whether it no longer reads all that it read."""
        index_map = site.param.index_map(READS)
        return index_map is not None and self.left.touched(index_map)

    def share(self, sites: Sequence[Site]) -> None:
        """Fit the weights that several sites share."""
        shared = self.repair.known.facts["shared"]
        lost = [s for s in sites if self._lost(s)] if shared else []
        owner = {
            site: own for own in together(lost, self.weights, full.LARGEST) for site in own.sites
        }
        if not owner:
            return
        dense = self.start()
        targets = replace(self.targets, dense=dense, sequential=False)
        for site in sorted(owner, key=lambda site: dense.find(site.y)):
            dense.run_to(dense.find(site.y) + 1, (site.x, site.y))
            owner[site].add(site, targets, self.fit, self.judge)
        for own in dict.fromkeys(owner.values()):
            before, after = own.solve(self.strength)
            name = own.sites[0].node.name
            self.done.append(Repaired(name, before, after, after < before))

    def visit(self, site: Site) -> None:
        """Bring both streams to a site, fit it, and keep what helps."""
        self._bring()
        self.pruned.run_to(self.pruned.find(site.y))
        if not self.weights.own(site):
            return
        weight, bias, affine = self.weights.of(site)
        stored = self.weights.shape(site)
        parts = self.coupling, site, self.targets, self.fit, stored, weight, bias, affine
        fit = Fit(*parts, self.strength)
        found = self.repair.function(fit)
        if found is None:
            return
        made, was = [part.shape for part in found], [weight.shape, bias.shape]
        if made != was:
            raise UsageError(
                f"the repair '{self.repair.name}' gives shapes {made} at node {site.node.name}, "
                f"not {was}, as they were"
            )
        self._accept(replace(fit, batches=self.judge), found)

    def _bring(self) -> None:
        """Compute what the next site asks of the original; what later ones ask for is held, too."""
        asked = self.needed.popleft()
        stop = max(self.dense.find(name) + 1 for name in asked if self.dense.makes(name))
        later = {name for names in self.needed for name in names} if self.reference else ()
        self.dense.run_to(max(stop, self.dense.done), {*asked, *later})

    def _accept(self, judge: Fit, new: tuple[Matrix, Matrix]) -> None:
        """Take the rows that are no worse on inputs that did not shape them."""
        site, old = judge.site, (judge.weight, judge.bias)
        before, after, spread = (np.zeros(old[1].shape) for _ in range(3))
        for chunk in judge.chunks():
            spread += chunk.spread
            before += chunk.missed(*old)
            after += chunk.missed(*new)
        taken = no_worse(Rows(*old, before), Rows(*new, after))
        scale = max(float(spread.sum()), 1e-30)
        was, left = float(before.sum()), float(taken.missed.sum())
        self.done.append(Repaired(site.node.name, was / scale, left / scale, left < was))
        self.weights.put(site, taken.weight, taken.bias - old[1])
