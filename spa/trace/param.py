"""One use of a constant, or of a product: all that criteria, cost and rewriting look at."""

from __future__ import annotations

from dataclasses import dataclass

from spa.labels import Plane, Shape

READS, MAKES, SCALES, FOLLOWS = "reads", "makes", "scales", "follows"


@dataclass(frozen=True, eq=False)
class Param:
    """Input `input` of node number `node`, seen as an array of shape `view` under planes of labels.

    Roles of planes: `reads` (channels contracted), `makes` (channels produced), `scales` (norms,
    biases, per-channel factors), `follows` (statistics and tables that are no weights).  An element
    dies when its label in any plane dies.  `times` counts how often one inference multiplies each
    element, so MACs = elements · times.  `tensor` is None for a product of two activations.
    """

    node: int
    input: int
    tensor: str | None
    view: Shape
    planes: tuple[tuple[str, Plane], ...]
    times: float = 0.0

    def plane(self, role: str) -> Plane | None:
        """The first plane of a role, or None."""
        return next((p for r, p in self.planes if r == role), None)
