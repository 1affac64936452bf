"""Which numbers of a checkpoint belong to which channel of which group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.checkpoints.exported import Arrays, Exported, same_numbers
from spa.checkpoints.names import called
from spa.checkpoints.places import Finder, Indices, Place
from spa.coupling import Coupling
from spa.errors import UsageError

NOBODY = -1


@dataclass(frozen=True)
class Shares:
    """The channels of all groups in one row, and whose each number of each tensor is.

    Attributes:
        group: of every channel, its group, int64 `[channels]`, ascending.
        tensors: by name in the checkpoint, per role in which it is coupled (what it reads, what
            it makes) the channel of every number in order, int64, or `NOBODY`.
    """

    group: NDArray[np.int64]
    tensors: dict[str, tuple[Indices, ...]]


def shares(coupling: Coupling, weights: Arrays) -> Shares:
    """Find the channels of a model's groups in a checkpoint.

    Raises:
        UsageError: no tensor of a group is found.
    """
    sizes = [group.cells.size for group in coupling.groups]
    slot = np.full(coupling.root.size, NOBODY)
    start = 0
    for group in coupling.groups:
        slot[group.cells.ravel()] = start + np.arange(group.cells.size)
        start += group.cells.size
    stored: dict[str, list[Indices]] = {}
    for param in coupling.notes.params.values():
        for _, index_map in param.maps if param.tensor is not None else ():
            units = np.broadcast_to(coupling.root[index_map.ids], param.view)
            mine = slot[units].reshape(-1)
            if (mine != NOBODY).any():
                stored.setdefault(param.stored, []).append(mine)
    found = _places(coupling, weights)
    tensors = {
        name: tuple(row[place.elements(shape, row.size)] for row in stored[place.tensor])
        for name, (place, shape) in found.items()
        if place.tensor in stored
    }
    if not tensors:
        raise UsageError("no parameter of the module stands in a group; give the file it became")
    return Shares(np.repeat(np.arange(len(sizes)), sizes), tensors)


def _places(coupling: Coupling, weights: Arrays) -> dict[str, tuple[Place, tuple[int, ...]]]:
    """Where each tensor stands in the file: under its name, else where its numbers are."""
    tensors = Exported.of(coupling.graph).tensors
    finder = Finder(tensors)
    names = called(*({n: a.size for n, a in each.items()} for each in (weights, tensors)))
    found: dict[str, tuple[Place, tuple[int, ...]]] = {}
    for name, array in weights.items():
        own = names.get(name, "")
        known = tensors.get(own)
        if known is not None and known.shape == array.shape and same_numbers(known, array):
            found[name] = Place(own, tuple(range(array.ndim))), known.shape
            continue
        ways = finder.ways(array)
        if len(ways) == 1 and len(ways[0].places) == 1:
            (place,) = ways[0].places
            if tensors[place.tensor].size == array.size:
                found[name] = place, tensors[place.tensor].shape
    return found
