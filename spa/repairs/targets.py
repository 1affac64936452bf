"""What every site is fitted on, and towards what: dense and pruned activations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.cells import select
from spa.executor.channels import unmoved
from spa.executor.sinks import TINY
from spa.executor.sites import Site
from spa.executor.stream import Stream
from spa.trace import Kept

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Targets:
    """Inputs and targets of sites; both streams must have come as far as the site.

    `consts` are stored tensors of the original, as the streams use them; `sequential` says whether
    sites are fitted on what the pruned model computes.
    """

    coupling: Coupling
    left: Kept
    dense: Stream
    pruned: Stream
    consts: Mapping[str, Array]
    sequential: bool

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
        stream = site.sink.stream
        if not self.sequential or stream is None or stream not in self.pruned.values:
            return target
        lost = self.select(stream, self.dense.values[stream][batch])
        return target + self._before(site, lost - self.pruned.values[stream][batch])

    def _before(self, site: Site, change: Array) -> Array:
        """The change of the site's output that changes the sink by so much."""
        factors, axis = site.sink.gain(self.consts), site.sink.axis
        if factors is None or axis is None:
            return change
        shape = [-1 if k == axis else 1 for k in range(change.ndim)]
        gain = self.select(site.y, np.asarray(factors.reshape(shape), change.dtype))
        usable = np.abs(gain) > TINY * np.abs(gain).max(initial=0.0)
        return np.divide(change, gain, out=np.zeros_like(change), where=usable)
