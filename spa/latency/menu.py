"""The widths that a search may choose from: few enough to be measured, and only those that pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spa.budgets.limits import Limit
from spa.coupling.model import Coupling, Group

MOST = 6
LIKED = (16, 8, 4)
"""Kernels work on blocks of so many channels: widths in between are measured last."""
PAYS = 0.25  # a step must save this share of what channels of its group save on average
Milliseconds = Callable[[NDArray[np.bool_]], float]


def menus(coupling: Coupling, bounds: Sequence[Limit]) -> tuple[Limit, ...]:
    """Every group's limit with at most `MOST` steps."""
    return tuple(_menu(g, limit) for g, limit in zip(coupling.groups, bounds, strict=True))


def _menu(group: Group, limit: Limit) -> Limit:
    steps = limit.steps
    if len(steps) <= MOST:
        return limit
    kept = (group.size - steps) * len(group.cells)
    for multiple in LIKED:
        liked = steps[(kept % multiple == 0) | (steps == 0)]
        if len(liked) >= MOST // 2:
            break
    else:
        liked = steps
    places = np.round(np.linspace(0, len(liked) - 1, min(MOST, len(liked)))).astype(int)
    return replace(limit, steps=liked[np.unique(places)])


def paying(
    coupling: Coupling, bounds: Sequence[Limit], milliseconds: Milliseconds
) -> tuple[Limit, ...]:
    """The limits without the steps that save no time worth the name.

    A convolution of 28 channels may take as long as one of 32, or longer.
    """
    whole = milliseconds(coupling.everything())
    return tuple(
        _paying(coupling, group, limit, milliseconds, whole)
        for group, limit in zip(coupling.groups, bounds, strict=True)
    )


def _paying(
    coupling: Coupling, group: Group, limit: Limit, milliseconds: Milliseconds, whole: float
) -> Limit:
    steps = limit.steps
    if limit.forced or len(steps) == 1:
        return limit
    times = np.array([whole, *(milliseconds(_without(coupling, group, k)) for k in steps[1:])])
    least = int(times.argmin())
    if least == 0:
        return replace(limit, steps=steps[:1])
    usual = PAYS * (whole - times[least]) / steps[least]
    chosen = [0]
    for k in range(1, len(steps)):
        last = chosen[-1]
        if times[last] - times[k] >= usual * (steps[k] - steps[last]):
            chosen.append(k)
    return replace(limit, steps=steps[chosen])


def _without(coupling: Coupling, group: Group, removed: int) -> NDArray[np.bool_]:
    """The choice that takes so many units out of every cell of one group."""
    kept = coupling.everything()
    kept[group.cells[:, :removed]] = False
    return kept
