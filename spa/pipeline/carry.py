"""What one round of several hands to the next."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from spa.coupling import Coupling
from spa.trace import Param

Alive = NDArray[np.bool_]
Scores = NDArray[np.float64]


def carried(coupling: Coupling, alive: Alive, left: Coupling, old: Scores, new: Scores) -> Scores:
    """Scores of the original's units from those of the units that are left.

    Args:
        coupling: the analysed original.
        alive: what is left of it, bool `[labels]` by unit.
        left: the analysis of the model that is left.
        old: scores by unit of `coupling`, kept where nothing better is known.
        new: scores by unit of `left`.

    Returns:
        Scores by unit of `coupling`, the mean where one unit is several in `left`; what is gone
        already goes first.
    """
    total, count = np.zeros(len(old)), np.zeros(len(old))
    uses = _uses(left)
    for tensor, params in _uses(coupling).items():
        for before, after in zip(params, uses.get(tensor, ()), strict=False):
            for (_, index_map), (_, rest) in zip(before.maps, after.maps, strict=False):
                units, kept = coupling.root[index_map.ids].ravel(), left.root[rest.ids].ravel()
                units = units[alive[units]]
                if len(units) == len(kept):
                    both = (units != 0) & (kept != 0)
                    total += np.bincount(units[both], new[kept[both]], len(old))
                    count += np.bincount(units[both], minlength=len(old))
    result = np.where(count > 0, total / np.maximum(count, 1), old)
    for group in coupling.groups:
        gone = group.cells[~alive[group.cells]]
        result[gone] = min(0.0, float(result[group.cells].min()))
    return result


def _uses(coupling: Coupling) -> dict[str, list[Param]]:
    """Every use of every stored tensor, in the order of the graph."""
    found: dict[str, list[Param]] = defaultdict(list)
    for key in sorted(coupling.notes.params):
        param = coupling.notes.params[key]
        if param.tensor is not None:
            found[param.tensor].append(param)
    return found
