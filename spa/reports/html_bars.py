"""The pictures of the HTML report, drawn as inline SVG from plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spa.reports import wording
from spa.reports.markup import Markup, element, join

WIDTH = 1000


@dataclass(frozen=True)
class Bar:
    """One line: `full` is drawn faint and `part` of it strong, both against the longest bar."""

    name: str
    full: float
    part: float
    value: str
    change: str
    tone: str = "kept"
    title: str | None = None


def bars(lines: Sequence[Bar]) -> Markup:
    """Draw bars of one scale below each other."""
    longest = max((bar.full for bar in lines), default=0) or 1
    return element("div", join(*(_line(bar, longest) for bar in lines)), class_="bars")


def _line(bar: Bar, longest: float) -> Markup:
    name, title = wording.printable(bar.name), wording.printable(bar.title or bar.name)
    label = f"{name}: {bar.value} {bar.change}".strip()
    picture = element(
        "svg",
        _box(bar.full, longest, "gone"),
        _box(bar.part, longest, bar.tone),
        viewBox=f"0 0 {WIDTH} 13",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
    return element(
        "div",
        element("span", name, class_="name", title=title),
        element("span", picture, class_="bar"),
        element("span", bar.value, class_="value"),
        element("span", bar.change, class_="value dim"),
        class_="line",
    )


def _box(amount: float, longest: float, tone: str) -> Markup:
    # Anything that exists gets a hair of width: a bar of zero would read as "no channels".
    width = max(WIDTH * amount / longest, 2 if amount > 0 else 0)
    return element("rect", width=f"{width:.1f}", height=13, class_=tone)


def stack(parts: Sequence[tuple[str, float, str]]) -> Markup:
    """Draw shares of a whole side by side: (name, amount, amount in words)."""
    total = sum(amount for _, amount, _ in parts) or 1
    boxes, x = [], 0.0
    for index, (name, amount, _) in enumerate(parts):
        width = WIDTH * amount / total
        title = element("title", name)
        box = element(
            "rect", title, x=f"{x:.1f}", width=f"{width:.1f}", height=18, class_=f"s{index % 6}"
        )
        boxes.append(box)
        x += width
    picture = element("svg", *boxes, viewBox=f"0 0 {WIDTH} 18", preserveAspectRatio="none")
    names = [(f"s{i % 6}", f"{name} {words}") for i, (name, _, words) in enumerate(parts)]
    return element("div", picture, legend(names), class_="stack")


def legend(names: Sequence[tuple[str, str]]) -> Markup:
    """Say which colour means what."""
    return element(
        "div",
        *(element("span", element("i", class_=tone), name) for tone, name in names),
        class_="legend",
    )
