"""From scores of weights to scores of coupled channels (SPA, arXiv 2403.18955, eq. 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.model import Coupling
from spa.criteria.meant import counts, meant
from spa.errors import UsageError
from spa.labels import Ids, IndexMap
from spa.trace import FOLLOWS, Param

AGGREGATES = ("sum", "mean", "max")
NORMALIZERS = ("none", "mean", "max", "gaussian")
SLAB = 1 << 18  # weights looked at together
Weigh = Callable[[str, NDArray[np.float32]], "NDArray[np.float32] | None"]
"""Scores of single weights, from the name of a tensor and its values; None: it counts nothing."""
Part = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Units, and what a member says about each; a unit may occur several times."""


@dataclass(frozen=True)
class Elementwise:
    """A score that hangs on the weight alone, so that tensors may be looked at in parts."""

    function: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def __call__(self, tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of some weights of a tensor."""
        return self.function(array)


def aggregate(coupling: Coupling, weigh: Weigh, how: str) -> NDArray[np.float64]:
    """S(channel) = AGG over members of the summed saliency of the member's slice.

    Returns float64 `[labels]` by unit.  `weigh(tensor, array)` scores single weights.
    """
    if how not in AGGREGATES:
        raise UsageError(f"there is no aggregate {how!r}; choose one of {', '.join(AGGREGATES)}")
    units: dict[int, Ids | None] = {}
    parts = [
        part
        for param in coupling.notes.weights
        if counts(coupling, param)
        for part in _parts(coupling, param, weigh, units)
    ]
    size = coupling.notes.size
    if how == "max":
        return _largest(parts, size)
    owners = np.concatenate([u for u, _ in parts] or [np.zeros(0, np.int64)])
    sums = np.concatenate([s for _, s in parts] or [np.zeros(0)])
    total: NDArray[np.float64] = np.bincount(owners, sums, size).astype(np.float64, copy=False)
    if how == "sum":
        return total
    members = np.zeros(size)
    for own, _ in parts:
        members[own] += 1  # once per unit, however often it occurs
    return np.asarray(total / np.maximum(members, 1))


def _largest(parts: Sequence[Part], size: int) -> NDArray[np.float64]:
    """The largest of the members' sums, 0 where there is none."""
    total = np.full(size, -np.inf)
    for units, sums in parts:
        own = np.bincount(units, sums, size)
        total[units] = np.maximum(total[units], own[units])
    return np.where(total == -np.inf, 0.0, total)


def _parts(
    coupling: Coupling, param: Param, weigh: Weigh, known: dict[int, Ids | None]
) -> list[Part]:
    """What one param says about the units of its index maps; nothing if these are all frozen.

    `known` are the units of index maps by the identity of their labels, None where all are frozen.
    """
    held = []
    for role, p in param.maps:
        if role == FOLLOWS:
            continue
        if id(p.ids) not in known:
            units = coupling.root.take(p.ids)
            known[id(p.ids)] = units if units.any() else None
        own = known[id(p.ids)]
        if own is not None:
            held.append((own, p.axes))
    if len(held) > 1 and len({units.item(0) for units, _ in held}) < len(held):
        # a depthwise filter is made and read by one channel: it counts once
        unique = {
            (labels.tighten(IndexMap(units, axes)).axes, units.tobytes()): (units, axes)
            for units, axes in reversed(held)
        }
        held = list(unique.values())[::-1]
    if not held:
        return []
    sums = summed(weigh, param.stored, meant(coupling, param), [axes for _, axes in held])
    pairs = zip(held, sums, strict=True) if sums else ()
    return [(units.ravel(), own.ravel()) for (units, _), own in pairs]


def summed(
    weigh: Weigh, tensor: str, array: NDArray[np.float32], kept: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float64]]:
    """The saliency summed over all axes but those kept, for several sets of axes at once.

    Nothing where the tensor counts nothing.

    Works in slabs that fit into the cache, because a whole array of squares costs more to allocate
    than to compute.
    """
    function = weigh.function if isinstance(weigh, Elementwise) else _as_is
    if function is _as_is:
        found = weigh(tensor, array)
        if found is None:
            return []
        array = np.asarray(found, np.float32)
    array = array if array.ndim else array.reshape(1)
    wide = [a for a, n in enumerate(array.shape) if n > 1] or [0]
    if array.size <= SLAB:
        slab = function(array)
        return [_collapsed(slab, axes, wide).astype(np.float64) for axes in kept]
    kept = [tuple([a for a in axes if a in wide]) for axes in kept]
    sums = [np.zeros([n if a in axes else 1 for a, n in enumerate(array.shape)]) for axes in kept]
    lead = (slice(None),) * wide[0]
    step = max(1, SLAB * array.shape[wide[0]] // array.size)
    for start in range(0, array.shape[wide[0]], step):
        span = (*lead, slice(start, start + step))
        slab = function(array[span])
        for axes, total in zip(kept, sums, strict=True):
            total[span if wide[0] in axes else ...] += _collapsed(slab, axes, wide)
    return sums


def _collapsed(
    slab: NDArray[np.float32], axes: Sequence[int], wide: Sequence[int]
) -> NDArray[np.float32]:
    """A slab summed over the `wide` axes outside `axes`: by products with ones, the fastest way."""
    inner = [a for a in wide if a in axes]
    if len(inner) == len(wide):
        return slab
    if inner and wide.index(inner[-1]) - wide.index(inner[0]) == len(inner) - 1:
        before, own = prod(slab.shape[: inner[0]]), prod([slab.shape[a] for a in inner])
        result = slab.reshape(before, -1)
        if before > 1:
            result = _ones(before) @ result
        result = result.reshape(own, -1)
        if result.shape[1] > 1:
            result = result @ _ones(result.shape[1])
        return result.reshape([n if a in inner else 1 for a, n in enumerate(slab.shape)])
    rest = tuple(a for a in wide if a not in axes)
    return slab.sum(rest, keepdims=True) if rest else slab


@lru_cache(maxsize=64)
def _ones(size: int) -> NDArray[np.float32]:
    return np.ones(size, np.float32)


def _as_is(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array


def normalized(coupling: Coupling, scores: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    """Make scores of different groups comparable: divide by, or centre on, the group's own.

    `mean`: s / mean(s); `max`: s / max(s); `gaussian`: (s - mean(s)) / std(s); `none`: as they are.
    """
    if how not in NORMALIZERS:
        raise UsageError(f"there is no normalizer {how!r}; choose one of {', '.join(NORMALIZERS)}")
    result = scores.copy()
    for group in coupling.groups if how != "none" else ():
        own = scores[group.cells]
        if how == "gaussian":
            spread = own.std()
            result[group.cells] = (own - own.mean()) / (spread if spread > 0 else 1.0)
        else:
            by = own.sum() / own.size if how == "mean" else own.max()
            result[group.cells] = own / (by if by > 0 else 1.0)
    return result
