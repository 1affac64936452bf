"""What every site is fitted on, and towards what: dense and pruned activations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.channels import unmoved
from spa.executor.cells import select
from spa.executor.sinks import TINY
from spa.executor.sites import Site
from spa.executor.stream import Stream
from spa.trace.check import Kept

Array = NDArray[Any]


class Targets:
    """Inputs and targets of sites; both streams must have come as far as the site.

    Args:
        coupling: the analysed original.
        left: what survives.
        dense: activations of the original.
        pruned: activations of the pruned model.
        consts: stored tensors of the original, as the streams use them.
        sequential: whether sites are fitted on what the pruned model computes.
    """

    def __init__(
        self,
        coupling: Coupling,
        left: Kept,
        dense: Stream,
        pruned: Stream,
        consts: Mapping[str, Array],
        sequential: bool,
    ) -> None:
        self.images, self.left, self.consts = coupling.notes.images, left, consts
        self.dense, self.pruned, self.sequential = dense, pruned, sequential

    def select(self, name: str, array: Array) -> Array:
        """What is left of an activation of the original."""
        return select(array, self.images[name], self.left)

    def input(self, site: Site, batch: int) -> Array:
        """What the site is fitted on."""
        if self.sequential:
            return self.pruned.values[site.x][batch]
        return self.select(site.x, self.dense.values[site.x][batch])

    def target(self, site: Site, batch: int) -> Array:
        """What the site should compute, to make up for the stream it is added to as well."""
        target = self._plain(site, self.dense.values[site.y][batch])
        stream = site.sink.stream
        if not self.sequential or stream is None or stream not in self.pruned.values:
            return target
        lost = self.select(stream, self.dense.values[stream][batch])
        return target + self._before(site, lost - self.pruned.values[stream][batch])

    def _plain(self, site: Site, made: Array) -> Array:
        """What is left of a site's output, as the site itself computes it: not moved."""
        if site.y in self.consts:
            made = unmoved(made, self.consts[site.y])
        return self.select(site.y, made)

    def _before(self, site: Site, change: Array) -> Array:
        """The change of the site's output that changes the sink by so much."""
        gain = self._gain(site, change)
        if gain is None:
            return change
        usable = np.abs(gain) > TINY * np.abs(gain).max(initial=0.0)
        return np.divide(change, gain, out=np.zeros_like(change), where=usable)

    def _gain(self, site: Site, like: Array) -> Array | None:
        """The factors between a site's output and its sink, over an activation like this."""
        gain = site.sink.gain(self.consts)
        if gain is None or site.sink.axis is None:
            return None
        shape = [1] * like.ndim
        shape[site.sink.axis] = -1
        full = np.asarray(gain.reshape(shape), like.dtype)
        return self.select(site.y, full)
