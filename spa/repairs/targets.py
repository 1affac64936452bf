"""What every site is fitted on, and towards what: dense and pruned activations side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.cells import select
from spa.executor.channels import unmoved
from spa.executor.sinks import TINY, Sink
from spa.executor.sites import Site
from spa.executor.stream import Stream
from spa.graph.model import Node
from spa.trace import Kept

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Reference:
    """The original of a model that has lost branches before its channels.

    Attributes:
        coupling: of the original.
        stands: by tensor of the shortened model, the tensor of the original whose values it should
            take (see `spa.rewrite.bypass.stands_for`).
        shortcuts: tensors of the shortened model that are read in the place of sums.
    """

    coupling: Coupling
    stands: Mapping[str, str] = field(default_factory=dict)
    shortcuts: frozenset[str] = frozenset()

    @cached_property
    def _maker(self) -> dict[str, Node]:
        return _makers(self.coupling)

    def makes(self, *names: str) -> bool:
        """Whether these are tensors of the original."""
        return all(name in self._maker or name in self.coupling.graph.inputs for name in names)

    def summand(self, sink: Sink, own: Node) -> str | None:
        """What the sum at a sink adds in the original where its `own` node adds `stream`."""
        node = self._maker.get(sink.tensor)
        if sink.stream is None or node is None:
            return None
        return node.inputs[own.inputs.index(sink.stream)]


@dataclass(frozen=True, eq=False)
class Targets:
    """Inputs and targets of sites; both streams must have come as far as the site needs.

    `consts` are stored tensors of the original, as the streams use them; `sequential` says whether
    sites are fitted on what the pruned model computes.  The dense stream is that of the
    `reference`, where branches were lost.
    """

    coupling: Coupling
    left: Kept
    dense: Stream
    pruned: Stream
    consts: Mapping[str, Array]
    sequential: bool
    reference: Reference | None = None

    @cached_property
    def _maker(self) -> dict[str, Node]:
        return _makers(self.coupling)

    def needs(self, site: Site) -> tuple[str, ...]:
        """The activations of the original that say what the site should compute."""
        known = self.reference
        if known is None:
            return site.x, site.y
        last = known.stands.get(site.sink.tensor)
        other = known.summand(site.sink, self._maker[site.sink.tensor])
        more = (site.sink.tensor, last) if last is not None else ()
        return tuple(name for name in (site.x, site.y, *more, other) if name is not None)

    def select(self, name: str, array: Array) -> Array:
        """What is left of an activation of the original."""
        return select(array, self.coupling.notes.images[name], self.left)

    def input(self, site: Site, batch: int) -> Array:
        """What the site is fitted on."""
        if self.sequential:
            return self.pruned.values[site.x][batch]
        return self.select(site.x, self.dense.values[site.x][batch])

    def target(self, site: Site, batch: int) -> Array:
        """What the site should compute, to make up for the stream it is added to as well."""
        made = self.dense.values[site.y][batch]
        if site.y in self.consts:  # as the site itself computes it: not moved
            made = unmoved(made, self.consts[site.y])
        target = self.select(site.y, made)
        for change in self._owed(site.sink, batch):
            target = target + self._before(site, change)
        return target

    def _owed(self, sink: Sink, batch: int) -> Iterator[Array]:
        """What the model that is cut has lost at a sink so far, and the site can make up for."""
        known, dense = self.reference, self.dense.values
        stream, last = sink.stream, known.stands.get(sink.tensor) if known else None
        if last is not None:
            yield self.select(sink.tensor, dense[last][batch] - dense[sink.tensor][batch])
        if self.sequential and stream is not None and stream in self.pruned.values:
            other = known.summand(sink, self._maker[sink.tensor]) if known else None
            was = self.select(stream, dense[other or stream][batch])
            yield was - self.pruned.values[stream][batch]

    def _before(self, site: Site, change: Array) -> Array:
        """The change of the site's output that changes the sink by so much."""
        factors, axis = site.sink.gain(self.consts), site.sink.axis
        if factors is None or axis is None:
            return change
        shape = [-1 if k == axis else 1 for k in range(change.ndim)]
        gain = self.select(site.y, np.asarray(factors.reshape(shape), change.dtype))
        usable = np.abs(gain) > TINY * np.abs(gain).max(initial=0.0)
        return np.divide(change, gain, out=np.zeros_like(change), where=usable)


def _makers(coupling: Coupling) -> dict[str, Node]:
    """By tensor, the node that makes it."""
    return {name: node for node in coupling.graph.nodes for name in node.outputs if name}
