"""The number of branches at which an error is least, from few trials: it is taken to be convex."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

TRIALS = 6
RISE = 1.25
"""So many times the least, and nobody looks further up.

Branches go in the order of what they cost for the time that they save, so each one costs more than
the last, and the widths that it spares cost less.
"""
WORTH = 0.05  # of the error: what another trial must be able to give


def least(error: Callable[[int], float], last: int) -> int:
    """The number from 0 to `last` at which an error is least, of those that are looked at.

    First they are spread over all, upwards until the error has risen; then comes the one beside the
    best at which a convex error could be least, as long as that is worth it.
    """
    step = max(1, math.ceil(last / 3))
    known: dict[int, float] = {}
    for k in (*range(0, last, step), last):
        known[k] = error(k)
        if known[k] > RISE * min(known.values()):
            break
    while len(known) < TRIALS and math.isfinite(min(known.values())):
        best = min(known, key=lambda k: (known[k], k))
        bounds = {k: bound(known, k) for k in _beside(known, best)}
        hopeful = [k for k in bounds if bounds[k] <= (1 - WORTH) * known[best]]
        if not hopeful:
            break
        far = {k: min(abs(k - j) for j in known) for k in hopeful}
        k = min(hopeful, key=lambda k: (bounds[k], -far[k]))
        known[k] = error(k)
    return min(known, key=lambda k: (known[k], k))


def bound(known: Mapping[int, float], k: int) -> float:
    """The least that a convex function of these values can be at `k`, between two of them.

    The lines through the two nearest values on either side lie below it.
    """
    below, above = sorted(j for j in known if j < k), sorted(j for j in known if j > k)
    found = -math.inf
    for two in (below[:-3:-1], above[:2]):
        if len(two) < 2:
            continue
        near, far = two
        if math.isfinite(known[near]) and math.isfinite(known[far]):
            slope = (known[near] - known[far]) / (near - far)
            found = max(found, known[near] + slope * (k - near))
    return found


def _beside(known: Mapping[int, float], best: int) -> list[int]:
    """What has not been looked at between the best and its neighbours."""
    gaps = [gap for gap in pairwise(sorted(known)) if best in gap]
    return [k for low, high in gaps for k in range(low + 1, high)]
