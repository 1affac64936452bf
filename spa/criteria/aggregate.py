"""From scores of weights to scores of coupled channels (SPA, arXiv 2403.18955, eq. 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable

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
    array = np.asarray(coupling.graph.consts[tensor]).astype(np.float32, copy=False)
    saliency = weigh(tensor, array.reshape(param.view))
    done: set[tuple[tuple[int, ...], bytes]] = set()
    for role, plane in param.planes:
        units = coupling.root[plane.ids]
        key = labels.tighten(Plane(units, plane.axes)).axes, units.tobytes()
        if role == FOLLOWS or not units.any() or key in done:
            continue
        done.add(key)  # a depthwise filter is made and read by one channel: it counts once
        rest = tuple(a for a in range(len(param.view)) if a not in plane.axes)
        slices = saliency.sum(rest, dtype=np.float64, keepdims=True)
        own = np.bincount(units.ravel(), slices.ravel(), len(total))
        hit = np.unique(units)
        if how == "max":
            total[hit] = np.maximum(total[hit], own[hit])
        else:
            total += own
        members[hit] += 1


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
