"""The original, run once at every size for all that is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spa.devices import Device
from spa.events import Advance, unheard
from spa.graph.model import Graph
from spa.validate.inputs import Feeds, feeds_at
from spa.validate.runs import Arrays, Runner

KEPT = 1 << 28
"""Bytes of outputs that are kept; others are computed again where they are asked for."""


class Original(Runner):
    """Runs an original, with feeds that are the same for all who ask, and knows what it made.

    Args:
        graph: as analysed.
        seed: of the inputs.
        device: where it runs.
        ran: hears of every run.
    """

    def __init__(
        self, graph: Graph, seed: int = 0, device: Device = "cpu", ran: Advance = unheard
    ) -> None:
        super().__init__(graph.proto, graph.source.base_dir, device, ran)
        self.graph, self.seed = graph, seed
        self._feeds: dict[tuple[tuple[str, int], ...], Feeds] = {}
        self._made: dict[tuple[int, bool], dict[str, Any]] = {}
        self._room = KEPT

    def feeds(self, sizes: Mapping[str, int] | None = None) -> Feeds:
        """Random inputs at the sizes of the analysis, or at other `sizes` of its symbols."""
        key = tuple(sorted((self.graph.dims if sizes is None else sizes).items()))
        if key not in self._feeds:
            self._feeds[key] = feeds_at(self.graph, self.seed, dict(key))
        return self._feeds[key]

    def __call__(self, feeds: Arrays, optimize: bool) -> dict[str, Any]:
        """As `Runner`; what it made of `feeds` of its own is known already."""
        key = id(feeds), optimize
        if key in self._made:
            return self._made[key]
        found = super().__call__(feeds, optimize)
        size = sum(value.nbytes for value in found.values() if isinstance(value, np.ndarray))
        if size <= self._room and any(feeds is own for own in self._feeds.values()):
            self._made[key] = found
            self._room -= size
        return found
