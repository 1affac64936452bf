"""What a criterion is given, and what it may give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.criteria.aggregate import Weigh, aggregate
from spa.devices import Device
from spa.events import Callback, quiet
from spa.registry import CRITERIA, Registry

Scores = NDArray[np.float64]
"""One number per unit, float64 `[labels]`; units of no group count nothing."""
Feeds = Sequence[Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Context:
    """What there is to judge by.

    Attributes:
        coupling: the analysed graph: `groups` of channels, `graph.consts` by name.
        feeds: inputs of the model, one dict per batch, for a criterion that measures.
        seed: of everything random.
        aggregate: how the members of a channel become one number: `sum`, `mean` or `max`.
        device: where models run.
        batch_norm: whether BatchNormalization, folded or not, takes the statistics of `feeds`.
        callback: is called with every event of progress.
        labels: classes of the rows of each of `feeds`, int64 `[rows]`, where they are known.
    """

    coupling: Coupling
    feeds: Feeds = ()
    seed: int = 0
    aggregate: str = "sum"
    device: Device = "auto"
    batch_norm: bool = True
    callback: Callback = quiet
    labels: Sequence[NDArray[np.int64]] | None = None

    def zeros(self) -> Scores:
        """Scores to fill in, group by group: `scores[group.cells] = ...`."""
        return np.zeros(self.coupling.notes.size)

    def per_channel(self, weigh: Weigh) -> Scores:
        """Scores of channels from those of single weights."""
        return aggregate(self.coupling, weigh, self.aggregate)


Criterion = Callable[[Context], "Scores | Weigh"]
"""Gives scores of channels, or what scores single weights, which are aggregated then."""

criterion: Registry[Criterion] = CRITERIA
