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
STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Axis:
    """What is measured; logarithmic unless `linear`, and `mark` draws a line at a value."""

    title: str
    linear: bool = False
    mark: float | None = None


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
        step = _step(max(values) - min(min(values), 0.0) or 1.0)
        low = step * math.floor(min(*values, 0.0) / step) if len(values) > 1 else 0.0
        high = step * math.ceil(max(*values, step) / step) if len(values) > 1 else values[0] or 1.0
        high = max(high, step)
        count = round((high - low) / step)
        return _Scale(low, high, begin, end, True, tuple(low + step * k for k in range(count + 1)))
    positive = [value for value in values if value > 0] or [1.0]
    edges = [*positive, axis.mark] if axis.mark else positive
    low, high = _round(min(edges), down=True), _round(max(edges), down=False)
    low = max(low, high / 1e6)  # what is smaller is nothing, and lies on the edge
    if low >= high:
        low, high = low / 2, high * 2
    return _Scale(low, high, begin, end, False, _decades(low, high))


def _step(span: float) -> float:
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next((s * power for s in STEPS if s * power * 6 >= span), 10 * power)


def _round(value: float, *, down: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    steps = [s * power for s in (*STEPS, 10.0)]
    close = 1e-9 * value
    if down:
        return max(s for s in steps if s <= value + close)
    return min(s for s in steps if s >= value - close)


def _decades(low: float, high: float) -> tuple[float, ...]:
    wide = math.log10(high / low) > 2.5
    steps = STEPS[:1] if wide else STEPS
    first = math.floor(math.log10(low))
    powers = range(first, math.ceil(math.log10(high)) + 1)
    values = (s * 10.0**p for p in powers for s in steps)
    return tuple(v for v in values if low * 0.999 <= v <= high * 1.001)
