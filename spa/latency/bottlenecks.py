"""Which operators hold the time of a model, and whether a cut can shorten them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spa.coupling.model import Coupling
from spa.latency.clock import Clock

RUN = "run"
"""What a bottleneck is called that is no operator: the cost of a run, and of what is not timed."""
MOST = 3


@dataclass(frozen=True)
class Bottleneck:
    """Pieces named by one operator: how many, and their share of the model's time.

    `shrinks` says whether the widths of groups change them.
    """

    op: str
    pieces: int
    share: float
    shrinks: bool


def bottlenecks(coupling: Coupling, clock: Clock) -> tuple[Bottleneck, ...]:
    """All of them, the largest share first."""
    whole = clock(coupling.everything()) or 1.0
    times: dict[tuple[str, bool], list[float]] = {}
    for surface in clock.surfaces:
        op = coupling.graph.nodes[surface.piece.nodes[0]].op
        taken = float(surface.times[(-1,) * surface.times.ndim]) * clock.scale / whole
        times.setdefault((op, bool(surface.axes)), []).append(taken)
    found = [Bottleneck(op, len(t), sum(t), shrinks) for (op, shrinks), t in times.items()]
    found.append(Bottleneck(RUN, 0, clock.between / whole, False))
    return tuple(sorted(found, key=lambda h: -h.share))


def why(found: Sequence[Bottleneck]) -> str:
    """What keeps a model from getting faster, in a few words."""
    fixed = [h for h in found if not h.shrinks and h.op != RUN and h.share >= 0.005]
    run = sum(h.share for h in found if h.op == RUN)
    parts = []
    if fixed:
        named = ", ".join(f"{h.op} {100 * h.share:.0f} %" for h in fixed[:MOST])
        share = sum(h.share for h in fixed)
        parts.append(f"{100 * share:.0f} % is in operators that no cut shortens ({named})")
    if run >= 0.005:
        parts.append(f"{100 * run:.0f} % is what a run costs apart from its operators")
    rest = sum(h.share for h in found if h.shrinks)
    parts.append(f"{100 * rest:.0f} % is in operators that narrow, as far as the options let them")
    return "; ".join(parts)
