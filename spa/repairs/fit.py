"""What a repair is given: one site that has lost something, and what it is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.forms import Convolution
from spa.executor.least_squares import Moments
from spa.executor.sites import Site
from spa.registry import REPAIRS, Registry
from spa.repairs.chunk import Chunk, chunks
from spa.repairs.targets import Targets

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """One site to be refitted.

    `targets` say what it is fitted on, and towards what; only `batches` may shape a solution.  The
    `weight` as it was cut is `[groups, rows, features]`, and of shape `stored` in the pruned model;
    the `bias` is `[groups, rows]`, and may change where `affine`.  The ridge has the `strength` of
    a share of the mean of the Gram matrix's diagonal.
    """

    coupling: Coupling
    site: Site
    targets: Targets
    batches: Sequence[int]
    stored: tuple[int, ...]
    weight: Matrix
    bias: Matrix
    affine: bool
    strength: float

    @property
    def mixes(self) -> bool:
        """Whether channels have several columns each, which one mixture may serve."""
        form = self.site.form
        return len(self.weight) == 1 and isinstance(form, Convolution) and not form.transposed

    def chunks(self) -> Iterator[Chunk]:
        """Columns and what the site should make of them, batch by batch."""
        return chunks(self.site, self.targets, self.batches, self.stored, len(self.weight))

    def moments(self, weight: Matrix) -> Moments:
        """Sums for a weight like this, `[groups, rows, features]`."""
        groups, rows, features = weight.shape
        return Moments(groups, features, rows, self.targets.dense.device)

    def kept(self, name: str) -> NDArray[np.int64]:
        """The channels (axis 1) of an activation that stay."""
        image = self.coupling.notes.images[name]
        shape = [1] * len(image.shape)
        shape[1] = image.shape[1]
        return self.targets.select(name, np.arange(shape[1]).reshape(shape)).reshape(-1)


Repair = Callable[[Fit], "tuple[Matrix, Matrix] | None"]
"""Gives a weight and a bias, of the shapes of the old ones; None leaves the site as it was cut.

Rows that are worse on the batches that judge stay as they were.
"""
repair: Registry[Repair] = REPAIRS
