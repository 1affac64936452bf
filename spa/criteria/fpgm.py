"""FPGM: channels near the middle of their group can be replaced by the others (arXiv 1811.00250).

The importance of channel i is the sum of its distances to the others of its cell,

    S(i) = Σ_j ‖w_i - w_j‖₂ ,

where w_i are all stored weights that make the channel.  The least sum belongs to the channel
nearest to the geometric median.  All distances of a cell come from one Gram matrix:
‖w_i - w_j‖² = w_i·w_i + w_j·w_j - 2 w_i·w_j, which is a sum over tensors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling, Group
from spa.criteria.context import Context, criterion
from spa.criteria.meant import counts, meant
from spa.trace import MAKES, Param

CHUNK = 1 << 22  # weights made float64 at once
Rows = tuple[NDArray[np.int64], NDArray[np.float32]]


@criterion()
def fpgm(context: Context) -> NDArray[np.float64]:
    """Distance to the other channels: the ones in the middle go first.

    The channel nearest to the geometric median of its group can be replaced by the others (FPGM,
    arXiv 1811.00250).  Where no stored weight makes a group, all of its channels count alike.
    """
    coupling = context.coupling
    grams: dict[int, NDArray[np.float64]] = {}
    for param in coupling.notes.weights:
        for units, rows in _made(coupling, param):
            for k in set(coupling.owner[units].tolist()) - {-1}:
                if k not in grams:
                    cells, width = coupling.groups[k].cells.shape
                    grams[k] = np.zeros((cells, width, width))
                _add(grams[k], coupling.groups[k], units, rows)
    scores = context.zeros()
    for group in coupling.groups:
        scores[group.cells] = _distances(grams[group.id]) if group.id in grams else 1.0
    return scores


def _made(coupling: Coupling, param: Param) -> list[Rows]:
    """Per map of made channels: units `[rows]` and the weights `[rows, features]` of each row."""
    found: list[Rows] = []
    if not counts(coupling, param):
        return found
    for role, index_map in param.maps:
        units = coupling.root[index_map.ids]
        if role != MAKES or not units.any():
            continue
        array = meant(coupling, param)
        axes = [a for a, n in enumerate(units.shape) if n > 1]
        flat = np.moveaxis(array, axes, range(len(axes)))
        flat = flat.reshape(units.size, -1).astype(np.float32, copy=False)
        found.append((units.ravel(), flat))
    return found


def _add(
    gram: NDArray[np.float64],
    group: Group,
    units: NDArray[np.int64],
    rows: NDArray[np.float32],
) -> None:
    """Add what one tensor says to the Gram matrices `[cells, width, width]` of a group."""
    cells, width = group.cells.shape
    slot = np.full(max(int(units.max()), int(group.cells.max())) + 1, -1)
    slot[group.cells.ravel()] = np.arange(cells * width)
    mine = np.flatnonzero(slot[units] >= 0)
    owner = slot[units[mine]]
    order = np.argsort(owner, kind="stable")
    mine, owner = mine[order], owner[order]
    turn = np.arange(len(owner)) - np.searchsorted(owner, owner)  # which row of its unit
    step = max(1, CHUNK // max(1, cells * width * (int(turn.max()) + 1)))
    for start in range(0, rows.shape[1], step):
        part = rows[mine, start : start + step].astype(np.float64)
        vectors = np.zeros((cells * width, int(turn.max()) + 1, part.shape[1]))
        vectors[owner, turn] = part
        stacked = vectors.reshape(cells, width, -1)
        stacked -= stacked.mean(1, keepdims=True)  # distances stay, rounding shrinks
        gram += stacked @ stacked.transpose(0, 2, 1)


def _distances(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of distances within every cell, `[cells, width]`, from Gram matrices."""
    own = np.diagonal(gram, axis1=1, axis2=2)
    squares = own[:, :, None] + own[:, None, :] - 2 * gram
    index = np.arange(gram.shape[1])
    squares[:, index, index] = 0.0
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)).sum(2))
