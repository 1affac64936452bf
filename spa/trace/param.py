"""One use of a constant, or of a product: all that criteria, cost and rewriting look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spa.labels import IndexMap, Shape

READS, MAKES, SCALES, FOLLOWS = "reads", "makes", "scales", "follows"
SHORT = frozenset(f"int{bits}" for bits in (2, 4, 8, 16))
"""What quantised numbers are stored in; longer integers are ids, sizes and sums."""


class NoElementsError(ValueError):
    """A stored tensor without elements: it has no channels, and its node is frozen."""


def is_float(dtype: np.dtype | None) -> bool:
    """Whether a numpy or ml_dtypes type is a floating-point type."""
    return dtype is not None and (
        np.issubdtype(dtype, np.floating) or "float" in getattr(dtype, "name", "")
    )


def is_number(dtype: np.dtype | None) -> bool:
    """Whether channels may be stored in a type: floating-point, or integers of few bits."""
    name = "" if dtype is None else np.dtype(dtype).name
    return is_float(dtype) or name.lstrip("u") in SHORT


@dataclass(eq=False, slots=True)
class Param:
    """Input `input` of node number `node`, seen as an array of shape `view` under maps of labels.

    Roles of maps: `reads` (channels contracted), `makes` (channels produced), `scales` (norms,
    biases, per-channel factors), `follows` (statistics and tables that are no weights).  An element
    is removed with its label in any map.  `times` counts how often one inference multiplies each
    element, so MACs = elements · times.  `tensor` is None for a product of two activations.
    """

    node: Final[int]
    input: Final[int]
    tensor: Final[str | None]
    view: Final[Shape]
    maps: Final[tuple[tuple[str, IndexMap], ...]]
    times: Final[float] = 0.0

    @property
    def stored(self) -> str:
        """The name of the tensor, of a param that has one."""
        assert self.tensor is not None
        return self.tensor

    def index_map(self, role: str) -> IndexMap | None:
        """The first index map of a role, or None."""
        return next((p for r, p in self.maps if r == role), None)
