"""Label images: which channel does every element of a tensor belong to?

An `IndexMap` is an integer array of labels laid over some axes of a tensor; two elements with one
label are kept or removed together; label 0 is frozen: it is always kept.  An `Image` is a tensor's
shape with its index maps: an element is removed as soon as its label in any of them is.  Axes are
carried explicitly, so that an axis with a single channel left is still a channel axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

FROZEN = 0
Ids = NDArray[np.int64]
Shape = tuple[int, ...]
Cut = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


@dataclass(eq=False, slots=True)  # final, not frozen: made by the thousand, and twice as fast
class IndexMap:
    """Labels over `axes`: `ids` has the tensor's rank, full length on `axes`, and 1 elsewhere."""

    ids: Final[Ids]
    axes: Final[tuple[int, ...]]

    @property
    def rank(self) -> int:
        """Rank of the tensor this index map lies over."""
        return self.ids.ndim

    @property
    def dense(self) -> Ids:
        """The ids without the axes the map does not vary over, shape `[len(axis) for axes]`."""
        if len(self.axes) == 1:
            return self.ids.reshape(-1)
        return self.ids.reshape([self.ids.shape[a] for a in self.axes])

    def rows(self) -> Ids:
        """The ids as `[rows, length of the last axis]`; a box keeps as many in every kept row."""
        dense = self.dense
        return dense.reshape(-1, dense.shape[-1]) if dense.ndim else dense.reshape(1, 1)


@dataclass(eq=False, slots=True)
class Image:
    """The shape of a tensor and the index maps of labels over it (none: all frozen)."""

    shape: Final[Shape]
    maps: Final[tuple[IndexMap, ...]] = ()

    @property
    def axes(self) -> frozenset[int]:
        """Every axis that some index map varies over."""
        return frozenset([a for p in self.maps for a in p.axes])

    def over(self, axis: int) -> tuple[IndexMap, ...]:
        """The index maps that vary along `axis`."""
        return tuple([p for p in self.maps if axis in p.axes])


def frozen(shape: Sequence[int]) -> Image:
    """An image in which nothing can be removed."""
    return Image(tuple(shape))


def lay(dense: Ids, axes: Sequence[int], rank: int) -> IndexMap:
    """The map over a tensor of `rank` whose labels along `axes` (in this order) are `dense`."""
    if len(axes) == 1 and dense.ndim == 1:
        a = int(axes[0])
        return IndexMap(dense.reshape((1,) * a + dense.shape + (1,) * (rank - a - 1)), (a,))
    shape = [1] * rank
    for a, n in zip(axes, dense.shape, strict=True):
        shape[a] = n
    ordered = tuple(sorted(map(int, axes)))
    if ordered != tuple(axes):
        order = sorted(range(len(axes)), key=axes.__getitem__)
        dense = dense.transpose(order)
    return IndexMap(dense.reshape(shape), ordered)


def placed(
    maps: Iterable[IndexMap], place: Callable[[int], int], rank: int
) -> tuple[IndexMap, ...]:
    """The same labels over a tensor of `rank`, with axis `a` at `place(a)`."""
    return tuple([lay(p.dense, [place(a) for a in p.axes], rank) for p in maps])


def transpose(x: Image, perm: Sequence[int]) -> Image:
    """Move axis `perm[i]` to place i."""
    place = {old: new for new, old in enumerate(perm)}
    return Image(
        tuple(x.shape[p] for p in perm),
        tuple(
            IndexMap(p.ids.transpose(perm), tuple(sorted(place[a] for a in p.axes))) for p in x.maps
        ),
    )


@lru_cache(maxsize=4096)
def cut(old: Shape, new: Shape) -> Cut | None:
    """Cut two shapes of one size into the shortest runs of axes with equal products.

    `(2, 3, 4) -> (6, 4)` is `[2·3 -> 6][4 -> 4]`.  An axis of length 1 that comes or goes between
    runs is a run of its own.  None where the shapes have no common cut.
    """
    if prod(old) != prod(new) or 0 in old:
        return None
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = i, j
        left, right = old[i] if i < len(old) else 0, new[j] if j < len(new) else 0
        i, j = i + (left == 1 or right != 1), j + (right == 1 or left != 1)
        left, right = left if i > a else 1, right if j > b else 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        runs.append((tuple(range(a, i)), tuple(range(b, j))))
    return tuple(runs)


def reshape(
    x: Image, shape: Shape, runs: Cut, axes: Sequence[Sequence[int]] | None = None
) -> Image:
    """Reshape the runs of axes that carry labels; `axes` says, per map, over which it then lies.

    Raises ValueError where a run's sizes do not agree (only after a wrong rewrite).
    """
    maps = []
    for k, p in enumerate(x.maps):
        full, sizes, out = list(p.ids.shape), [1] * len(shape), []
        for old, new in runs:
            if set(old) & set(p.axes):
                for a in old:
                    full[a] = x.shape[a]
                for a in new:
                    sizes[a] = shape[a]
                out += [a for a in new if axes is None or a in axes[k]]
        ids = np.broadcast_to(p.ids, full).reshape(sizes)
        ids = ids[tuple(slice(None) if a in out else slice(1) for a in range(len(shape)))]
        maps.append(IndexMap(ids, tuple(out)))
    return Image(tuple(shape), tuple(maps))


def take(x: Image, index: NDArray[np.int64], axis: int) -> Image:
    """Index one axis with an integer array of any rank, as `numpy.take` does.

    A scalar index may leave a map without axes: one channel, alone.  An empty one leaves none.
    """
    shape = x.shape[:axis] + index.shape + x.shape[axis + 1 :]
    grown = index.ndim - 1

    def pick(p: IndexMap) -> IndexMap:
        after = tuple(a + grown for a in p.axes if a > axis)
        if axis in p.axes:
            inner = tuple(range(axis, axis + index.ndim))
            return IndexMap(
                p.ids.take(index, axis), tuple(a for a in p.axes if a < axis) + inner + after
            )
        flat = p.ids.shape[:axis] + (1,) * index.ndim + p.ids.shape[axis + 1 :]
        return IndexMap(p.ids.reshape(flat), tuple(a for a in p.axes if a < axis) + after)

    left = x.maps if index.size else (p for p in x.maps if axis not in p.axes)
    return Image(shape, tuple(map(pick, left)))


def lift(x: Image, rank: int) -> Image:
    """Prepend axes of length 1 until the image has `rank` axes, as broadcasting does."""
    more = rank - len(x.shape)
    if not more:
        return x
    return Image(
        (1,) * more + x.shape,
        tuple(
            IndexMap(p.ids.reshape((1,) * more + p.ids.shape), tuple(a + more for a in p.axes))
            for p in x.maps
        ),
    )


def tighten(p: IndexMap) -> IndexMap:
    """The same index map without the axes along which it turns out constant."""
    ids = p.ids
    varies = ids.size > 0 and ids.item(0) != ids.item(-1)
    if varies and len(p.axes) == 1:
        return p  # the usual case
    axes = [a for a in p.axes if ids.shape[a] != 1]
    if not ids.size:  # nothing is there to be alike
        return p
    for a in () if varies and len(axes) == 1 else tuple(axes):
        if not (ids.size and _differs(ids, a)):
            head = ids.take([0], axis=a)
            if (ids == head).all():
                ids = head
                axes.remove(a)
    return p if len(axes) == len(p.axes) else IndexMap(ids, tuple(axes))


def _differs(ids: Ids, axis: int) -> bool:
    """Whether the first label along an axis is not the last: the quick way to see it vary."""
    first = (0,) * ids.ndim
    return bool(ids[first] != ids[(*first[:axis], -1, *first[axis + 1 :])])


def extent(kept: NDArray[np.bool_]) -> Shape | None:
    """The shape of what is kept if it is a box (equal counts in every kept cell), else None."""
    if kept.size == max(kept.shape, default=0):  # one long axis at most
        count = int(np.count_nonzero(kept))
        return tuple(min(n, count) for n in kept.shape) if count else None
    shape = []
    while kept.ndim:
        counts = kept.sum(-1)
        some = counts[counts > 0]
        if not some.size or (some != some[0]).any():
            return None
        shape.append(int(some[0]))
        kept = np.asarray(kept.any(-1))
    return tuple(shape[::-1])


def components(size: int, left: Ids, right: Ids) -> Ids:
    """Root (the smallest label) of every label's class, given equal pairs; one linear pass."""
    if not left.size:
        return np.arange(size, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
    _, label = connected_components(edges, directed=False)
    first: Ids = np.full(int(label.max()) + 1, size, np.int64)
    np.minimum.at(first, label, np.arange(size))
    return np.asarray(first[label])


def core(ids: Ids) -> Ids:
    """What arrays have in common that hold the same labels in the same order: their memory.

    Rules hand labels on as views of other shapes, so this finds most of what is equal.
    """
    base = ids.base
    if not isinstance(base, np.ndarray) or base.size != ids.size:
        return ids
    return base if ids.flags.c_contiguous and base.flags.c_contiguous else ids
