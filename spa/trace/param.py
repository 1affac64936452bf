"""One use of a constant, or of a product: all that criteria, cost and rewriting look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spa.labels import Plane, Shape

READS, MAKES, SCALES, FOLLOWS = "reads", "makes", "scales", "follows"


@dataclass(eq=False, slots=True)
class Param:
    """Input `input` of node number `node`, seen as an array of shape `view` under planes of labels.

    Roles of planes: `reads` (channels contracted), `makes` (channels produced), `scales` (norms,
    biases, per-channel factors), `follows` (statistics and tables that are no weights).  An element
    dies when its label in any plane dies.  `times` counts how often one inference multiplies each
    element, so MACs = elements · times.  `tensor` is None for a product of two activations.
    """

    node: Final[int]
    input: Final[int]
    tensor: Final[str | None]
    view: Final[Shape]
    planes: Final[tuple[tuple[str, Plane], ...]]
    times: Final[float] = 0.0

    @property
    def stored(self) -> str:
        """The name of the tensor, of a param that has one."""
        assert self.tensor is not None
        return self.tensor

    def plane(self, role: str) -> Plane | None:
        """The first plane of a role, or None."""
        return next((p for r, p in self.planes if r == role), None)
