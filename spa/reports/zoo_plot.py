"""A scatter as inline SVG: dots that say their name when pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spa.reports.markup import Markup, element

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
    shown = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not shown:
        return None
    across = _scale([dot.x for dot in shown], x, LEFT, WIDTH - RIGHT)
    up = _scale([dot.y for dot in shown], y, HEIGHT - BOTTOM, TOP)
    marks = []
    if y.mark is not None and up.low <= y.mark <= up.high:
        marks.append(_level(up(y.mark), "mark"))
    circles = [
        element(
            "circle",
            element("title", dot.title),
            cx=f"{across(dot.x):.1f}",
            cy=f"{up(dot.y):.1f}",
            r=5,
            class_=dot.tone,
        )
        for dot in shown
    ]
    return element(
        "svg",
        *_grid(across, up),
        *marks,
        *_titles(x, y),
        _line(shown, across, up) if joined else None,
        *circles,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="plot",
        role="img",
        aria_label=f"{y.title} against {x.title} of {len(shown)} {what}",
    )


def _line(shown: Sequence[Dot], across: _Scale, up: _Scale) -> Markup:
    points = " ".join(f"{across(dot.x):.1f},{up(dot.y):.1f}" for dot in shown)
    return element("polyline", points=points, fill="none", class_="joined")


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


def _grid(across: _Scale, up: _Scale) -> list[Markup]:
    made = []
    for value in up.ticks:
        made.append(_level(up(value), "grid"))
        made.append(_text(f"{value:g}", LEFT - 7, up(value) + 4, "end"))
    for value in across.ticks:
        at = f"{across(value):.1f}"
        made.append(element("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        made.append(_text(f"{value:g}", across(value), HEIGHT - BOTTOM + 17, "middle"))
    return made


def _level(at: float, tone: str) -> Markup:
    return element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{at:.1f}", y2=f"{at:.1f}", class_=tone)


def _titles(x: Axis, y: Axis) -> tuple[Markup, Markup]:
    middle = (HEIGHT - BOTTOM + TOP) / 2
    upright = element(
        "text",
        y.title,
        transform=f"translate(13 {middle:.0f}) rotate(-90)",
        text_anchor="middle",
        class_="title",
    )
    return _text(x.title, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "middle", "title"), upright


def _text(words: str, x: float, y: float, anchor: str, tone: str | None = None) -> Markup:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=tone)
