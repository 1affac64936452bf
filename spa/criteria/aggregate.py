"""From scores of weights to scores of coupled channels (SPA, arXiv 2403.18955, eq. 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.cost import is_parameter
from spa.coupling.model import Coupling
from spa.errors import UsageError
from spa.labels import Plane
from spa.trace.param import FOLLOWS, Param

AGGREGATES = ("sum", "mean", "max")
NORMALIZERS = ("none", "mean", "max", "gaussian")
SLAB = 1 << 16  # weights looked at together
Weigh = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]


def aggregate(coupling: Coupling, weigh: Weigh, how: str) -> NDArray[np.float64]:
    """S(channel) = AGG over members of the summed saliency of the member's slice.

    Returns float64 `[labels]` by unit.  `weigh(tensor, array)` scores single weights.
    """
    if how not in AGGREGATES:
        raise UsageError(f"there is no aggregate {how!r}; choose one of {', '.join(AGGREGATES)}")
    total = np.full(coupling.notes.size, -np.inf) if how == "max" else np.zeros(coupling.notes.size)
    members = np.zeros(coupling.notes.size)
    for param in coupling.notes.params.values():
        if param.tensor is None or not is_parameter(coupling.graph, param.tensor):
            continue
        if any(coupling.root[p.ids].any() for _, p in param.planes):
            _add(coupling, param, param.tensor, weigh, how, total, members)
    if how == "max":
        return np.where(members > 0, total, 0.0)
    return total / np.maximum(members, 1) if how == "mean" else total


def _add(
    coupling: Coupling,
    param: Param,
    tensor: str,
    weigh: Weigh,
    how: str,
    total: NDArray[np.float64],
    members: NDArray[np.float64],
) -> None:
    """Add what one param says about the units of its planes."""
    seen: dict[tuple[tuple[int, ...], bytes], tuple[NDArray[np.int64], Plane]] = {}
    for role, plane in param.planes:
        units = coupling.root[plane.ids]
        if role != FOLLOWS and units.any():
            # a depthwise filter is made and read by one channel: it counts once
            key = labels.tighten(Plane(units, plane.axes)).axes, units.tobytes()
            seen.setdefault(key, (units, plane))
    array = np.asarray(coupling.graph.consts[tensor]).astype(np.float32, copy=False)
    kept = [plane.axes for _, plane in seen.values()]
    sums = summed(weigh, tensor, array.reshape(param.view), kept)
    for (units, _), slices in zip(seen.values(), sums, strict=True):
        own = np.bincount(units.ravel(), slices.ravel(), len(total))
        hit = units.ravel()
        if how == "max":
            total[hit] = np.maximum(total[hit], own[hit])
        else:
            total += own
        members[hit] += 1  # once per unit, however often it occurs


def summed(
    weigh: Weigh, tensor: str, array: NDArray[np.float32], kept: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float64]]:
    """The saliency summed over all axes but those kept, for several sets of axes at once.

    Works in slabs that fit into the cache, because a whole array of squares costs more to allocate
    than to compute, and sums the axes before the kept ones first: contiguous rows.
    """
    if not getattr(weigh, "elementwise", False):
        array, weigh = weigh(tensor, array), _as_is
    array = np.atleast_1d(array)
    wide = [a for a, n in enumerate(array.shape) if n > 1] or [0]
    kept = [tuple(a for a in axes if a in wide) for axes in kept]
    sums = [np.zeros([n if a in axes else 1 for a, n in enumerate(array.shape)]) for axes in kept]
    lead = (slice(None),) * wide[0]
    step = max(1, SLAB * array.shape[wide[0]] // max(array.size, 1))
    for start in range(0, array.shape[wide[0]], step):
        span = (*lead, slice(start, start + step))
        slab = weigh(tensor, array[span])
        for axes, total in zip(kept, sums, strict=True):
            first = min(axes, default=slab.ndim)
            part = slab.sum(tuple(range(first)), keepdims=True) if first > wide[0] else slab
            rest = tuple(a for a in wide if a > first and a not in axes)
            part = part.sum(rest, keepdims=True) if rest else part
            total[span if wide[0] in axes else ...] += part
    return sums


def _as_is(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array


def normalize(coupling: Coupling, scores: NDArray[np.float64], how: str) -> NDArray[np.float64]:
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
            by = own.mean() if how == "mean" else own.max()
            result[group.cells] = own / (by if by > 0 else 1.0)
    return result
