"""A scatter as inline SVG: dots that say their name when pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spa.reports.template import render

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 46


@dataclass(frozen=True)
class Axis:
    """What is measured; logarithmic unless `linear`, and `mark` draws a line at a value."""

    title: str
    linear: bool = False
    mark: float | None = None
    origin: float = 0.0
    """What a linear axis always holds."""


@dataclass(frozen=True)
class Dot:
    """One point, its name, and the class of its colour."""

    x: float
    y: float
    title: str
    tone: str | None = None


@dataclass(frozen=True)
class _Scale:
    """Values to pixels, and where the lines of the grid are."""

    low: float
    high: float
    begin: float
    end: float
    linear: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        at, low, high = (self._flat(v) for v in (value, self.low, self.high))
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return self.begin + share * (self.end - self.begin)

    def _flat(self, value: float) -> float:
        return value if self.linear else math.log10(max(value, self.low))


def scatter(
    dots: Sequence[Dot], x: Axis, y: Axis, *, joined: bool = False, what: str = "models"
) -> Markup | None:
    """Draw dots over a grid, joined by a line if asked for; None where there are none.

    Values at or below zero lie on the lower edge of a logarithmic axis.
    """
    from markupsafe import Markup

    shown = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not shown:
        return None
    across = _scale([dot.x for dot in shown], x, LEFT, WIDTH - RIGHT)
    up = _scale([dot.y for dot in shown], y, HEIGHT - BOTTOM, TOP)
    box = {"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
    values = {"dots": shown, "x": x, "y": y, "across": across, "up": up, "box": box}
    size = {"width": WIDTH, "height": HEIGHT}
    return Markup(render("plot.svg", joined=joined, what=what, **values, **size))


def _scale(values: Sequence[float], axis: Axis, begin: float, end: float) -> _Scale:
    """A scale over round numbers that holds all values."""
    if axis.linear:
        low, high = min(*values, axis.origin), max(*values, axis.origin)
        least = (high - low or 1.0) / 6
        step = next(step for step in _steps(least, least) if step >= least)
        first, last = math.floor(low / step), max(math.ceil(high / step), 1)
        ticks = [step * k for k in range(first, last + 1)]
        return _Scale(ticks[0], ticks[-1], begin, end, True, tuple(ticks))
    edges = [value for value in (*values, axis.mark or 0.0) if value > 0] or [1.0]
    high = max(edges)
    low = max(min(edges), high / 1e6)  # what is smaller is nothing, and lies on the edge
    steps = _steps(low, high)
    low = max(step for step in steps if step <= low * (1 + 1e-9))
    high = min(step for step in steps if step >= high * (1 - 1e-9))
    if low >= high:
        low, high = low / 2, high * 2
    if high > 300 * low:
        steps = steps[::3]  # powers of ten
    ticks = [step for step in steps if low * 0.999 <= step <= high * 1.001]
    return _Scale(low, high, begin, end, False, tuple(ticks))


def _steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on, from below one number to above another."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    return [step * 10.0**power for power in powers for step in (1.0, 2.0, 5.0)]
