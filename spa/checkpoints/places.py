"""Where the numbers of a checkpoint's tensor stand in an exported file, found by their values.

Exporters transpose (a `Linear` becomes a MatMul, a kernel of Keras or Flax another layout), reorder
blocks (gates of recurrent cells), and split or join tensors (queries, keys and values).  So a
tensor is sought whole first, in every order of axes, and then in equal pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, permutations, product
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spa.checkpoints.exported import Array, Arrays

Indices: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]
PIECES = (1, 2, 3, 4, 6, 8)
"""Into how many pieces a tensor is divided; a cell with four gates and two sets of biases has 8."""
LEAST = 2  # numbers in a piece: single ones are met anywhere
JOINED = 16  # pieces that a stored tensor is at most made of: gates, directions, both biases
MOST = 16  # ways to look at, where several tensors hold the same numbers
AXES = 5  # longer than 1, of which every order is tried


@dataclass(frozen=True)
class Place:
    """A run of numbers of a stored tensor.

    Attributes:
        tensor: its name in the file.
        order: of its axes, before the numbers are counted.
        start: the first.
    """

    tensor: str
    order: tuple[int, ...]
    start: int = 0

    def elements(self, shape: Shape, count: int) -> Indices:
        """The numbers' positions in the stored tensor as it is, int64 `[count]`."""
        whole: Indices = np.arange(prod(shape)).reshape(shape).transpose(self.order).reshape(-1)
        return whole[self.start : self.start + count]


@dataclass(frozen=True)
class Way:
    """One way to find a tensor in a file.

    Attributes:
        axis: that is moved to the front before the tensor is divided.
        places: of its pieces, which are equally long.
    """

    axis: int
    places: tuple[Place, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The stored tensors that it leads to."""
        return tuple(dict.fromkeys(place.tensor for place in self.places))


@lru_cache(maxsize=4096)
def orders(shape: Shape) -> tuple[tuple[int, ...], ...]:
    """Orders of axes that lay the numbers out differently, as they are first."""
    long = [axis for axis, size in enumerate(shape) if size > 1]
    short = tuple(axis for axis, size in enumerate(shape) if size == 1)
    if len(long) > AXES:
        return ((*short, *long),)
    return tuple((*short, *each) for each in permutations(long))


def bare(shape: Shape) -> Shape:
    """A shape without axes of length 1."""
    return tuple(size for size in shape if size != 1)


def digest(array: Array) -> bytes:
    """Of the numbers in single precision, in order; both zeros are one."""
    plain = np.ascontiguousarray(array, np.float32) + np.float32(0)
    return hashlib.blake2b(plain.tobytes(), digest_size=16).digest()


class Finder:
    """Finds arrays in the tensors of a file."""

    def __init__(self, tensors: Arrays) -> None:
        self.tensors = tensors
        self._by_size: dict[int, list[str]] = {}
        for name, array in tensors.items():
            self._by_size.setdefault(array.size, []).append(name)
        self._whole: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._runs: dict[int, Mapping[bytes, list[Place]]] = {}

    def ways(self, array: Array) -> list[Way]:
        """Where the array is found, the plainest kind of place that there is."""
        if array.size < LEAST:
            return []
        wanted = digest(array)
        fits = [
            (name, order)
            for name in self._by_size.get(array.size, ())
            for order in orders(self.tensors[name].shape)
        ]
        alike = [(n, o) for n, o in fits if permuted(self.tensors[n].shape, o) == bare(array.shape)]
        for some in (alike, fits):  # the same axes, then axes that were joined or divided
            found = [Place(n, o) for n, o in some if self._digest(n, o) == wanted]
            if found:
                return [Way(0, (place,)) for place in found]
        return next(filter(None, map(list, self._in_pieces(array))), [])

    def _in_pieces(self, array: Array) -> Iterator[Iterator[Way]]:
        for count, axis in product(PIECES, range(array.ndim)):
            if array.size % count or array.size // count < LEAST or (count == 1 and axis):
                continue
            pieces = np.moveaxis(array, axis, 0).reshape(count, -1)
            runs = self._runs_of(pieces.shape[1])
            found = [runs.get(digest(piece), []) for piece in pieces]
            if all(found):
                ways = (Way(axis, places) for places in product(*found))
                yield islice(ways, MOST)

    def _digest(self, name: str, order: tuple[int, ...]) -> bytes:
        key = name, order
        if key not in self._whole:
            self._whole[key] = digest(self.tensors[name].transpose(order))
        return self._whole[key]

    def _runs_of(self, count: int) -> Mapping[bytes, list[Place]]:
        """All runs of so many numbers that begin at a multiple of it."""
        if count not in self._runs:
            runs: dict[bytes, list[Place]] = {}
            for name, array in self.tensors.items():
                pieces, rest = divmod(array.size, count)
                if rest or not 0 < pieces <= JOINED or len(bare(array.shape)) > 3:
                    continue
                for order in orders(array.shape):
                    for k, run in enumerate(array.transpose(order).reshape(-1, count)):
                        runs.setdefault(digest(run), []).append(Place(name, order, k * count))
            self._runs[count] = runs
        return self._runs[count]


def permuted(shape: Shape, order: tuple[int, ...]) -> Shape:
    """A shape in another order, without axes of length 1."""
    return bare(tuple(shape[axis] for axis in order))


def box(kept: NDArray[np.bool_]) -> Indices | None:
    """What is left of an array, as positions in it; None where that is no array of its rank.

    The axes are seen as independent where they can be; else, as in a grouped convolution, every
    block along an axis must keep as many positions along the next.
    """
    where: Indices = np.arange(kept.size).reshape(kept.shape)
    axes = range(kept.ndim)
    lines = [kept.any(tuple(a for a in axes if a != axis)) for axis in axes]
    chosen = np.ix_(*lines)
    return where[chosen] if kept[chosen].all() else None
