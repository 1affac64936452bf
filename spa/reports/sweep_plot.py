"""A sweep as a picture, what is lost against what is gone: SVG, HTML and, where it can be, PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module, util
from pathlib import Path

from spa.errors import UsageError
from spa.reports import wording
from spa.reports.html_page import page
from spa.reports.html_style import STYLE
from spa.reports.markup import Markup, element
from spa.reports.sweep import Row, Sweep
from spa.reports.sweep_text import cells, gates, headline, heads, unit
from spa.reports.zoo_html import MORE_STYLE
from spa.reports.zoo_plot import HEIGHT, WIDTH, Axis, Dot, scatter

CONVERTER = "cairosvg"
HEAD = 44  # pixels of the picture's own title
OWN_STYLE = """
.plot .joined { stroke: var(--kept); stroke-width: 1.5; stroke-opacity: .5; }
.plot circle.good { fill: var(--good); fill-opacity: 1; } .plot circle.bad { fill: var(--s3); }
"""
# A picture has no page around it, and few converters know variables.
PLAIN_STYLE = """
text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #5d6878; }
.title { fill: #1b2330; } .head { fill: #1b2330; font-size: 16px; font-weight: bold; }
.grid { stroke: #e2e6ec; } .mark { stroke: #5d6878; stroke-dasharray: 4 4; }
.joined { stroke: #2f6fde; stroke-width: 1.5; stroke-opacity: .5; }
circle { fill: #2f6fde; stroke: #ffffff; } circle.good { fill: #147a48; }
circle.bad { fill: #d9822b; }
"""


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work is done, a picture that could not be drawn or written."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"no plot has the suffix {suffix or '(none)'} of {target}; use {', '.join(FORMATS)}"
        )
    if suffix == ".png" and util.find_spec(CONVERTER) is None:
        raise UsageError(
            f"{target} needs the package {CONVERTER}, which is not installed; "
            f"pip install {CONVERTER}, or name a .svg or .html file"
        )


def panels(sweep: Sweep) -> list[Markup]:
    """One plot per thing that was measured, over the share that is gone."""
    tried = [row for row in sweep["rows"] if row["reduction"] is not None]
    limits = sweep["gates"]
    lost = sweep["check"] is not None and sweep["check"]["before"] is not None
    asked: list[tuple[str, Callable[[Row], float | None], float | None]] = [
        (wording.DRIFT, lambda row: row["drift"], limits.get("max_drift"))
    ]
    if lost:
        asked.append(("score lost", lambda row: row["drop"], limits.get("max_drop")))
    elif sweep["check"]:
        asked.append(("score", lambda row: row["score"], limits.get("min_score")))
    asked.append(("latency (ms)", lambda row: row["latency_ms"], None))
    asked.append(("file size (MB)", _megabytes, None))
    drawn = [_panel(sweep, tried, title, of, mark) for title, of, mark in asked]
    return [each for each in drawn if each is not None]


def _megabytes(row: Row) -> float | None:
    return None if row["bytes"] is None else row["bytes"] / 1e6


def _panel(
    sweep: Sweep,
    rows: Sequence[Row],
    title: str,
    of: Callable[[Row], float | None],
    mark: float | None,
) -> Markup | None:
    tones = {"missed": "bad", "passed": None, "original": None}
    dots = []
    for row in rows:
        value = of(row)
        if value is None:
            continue
        gone = 100 * (row["reduction"] or 0.0)
        best = row["ratio"] == sweep["best"] and sweep["gates"] and row["status"] == "passed"
        words = f"ratio {row['ratio']:g}: {gone:.1f} % gone, {title} {wording.measure(value)}"
        dots.append(Dot(gone, value, words, "good" if best else tones[row["status"]]))
    dots.sort(key=lambda dot: dot.x)
    across = Axis(f"{unit(sweep)} gone (%)", linear=True)
    return scatter(dots, across, Axis(title, linear=True, mark=mark), joined=True, what="ratios")


def to_svg(sweep: Sweep) -> str:
    """Write the panels side by side, as one picture of its own."""
    shown = panels(sweep)
    columns = min(len(shown), 2)
    wide, high = columns * WIDTH, HEAD + -(-len(shown) // columns) * HEIGHT
    placed = [
        element(
            "svg",
            each,
            x=(k % columns) * WIDTH,
            y=HEAD + k // columns * HEIGHT,
            width=WIDTH,
            height=HEIGHT,
        )
        for k, each in enumerate(shown)
    ]
    picture = element(
        "svg",
        element("style", Markup(PLAIN_STYLE)),
        element("rect", width=wide, height=high, fill="#ffffff"),
        element("text", headline(sweep), x=14, y=28, class_="head"),
        *placed,
        xmlns="http://www.w3.org/2000/svg",
        width=wide,
        height=high,
        viewBox=f"0 0 {wide} {high}",
    )
    return f"{picture}\n"


def to_html(sweep: Sweep) -> str:
    """Write a page with the panels and the table."""
    titles = element("tr", *(element("th", head) for head in heads(sweep)))
    lines = [
        element("tr", *(element("td", cell) for cell in cells(sweep, row))) for row in sweep["rows"]
    ]
    asked = f"Gates: {gates(sweep)}" if sweep["gates"] else None
    body = element(
        "main",
        element("header", element("h1", headline(sweep))),
        element("p", asked, class_="dim") if asked else None,
        element("section", element("p", sweep["error"]), class_="card stop")
        if sweep["error"]
        else None,
        element("section", element("div", *panels(sweep), class_="plots"), class_="card"),
        element("section", element("table", titles, *lines), class_="card"),
        element("footer", element("p", f"spa sweep · {sweep['spa_version']}")),
        class_="wide",
    )
    return page(f"spa sweep: {headline(sweep)}", STYLE + MORE_STYLE + OWN_STYLE, body)


def to_png(sweep: Sweep) -> bytes:
    """Draw the SVG's pixels; needs a converter (see `check_path`)."""
    made: bytes = import_module(CONVERTER).svg2png(bytestring=to_svg(sweep).encode())
    return made


FORMATS: dict[str, Callable[[Sweep], str | bytes]] = {
    ".svg": to_svg,
    ".html": to_html,
    ".png": to_png,
}


def drawn(sweep: Sweep, path: str | os.PathLike[str]) -> bytes:
    """The picture as the file of that name holds it."""
    made = FORMATS[Path(path).suffix.lower()](sweep)
    return made if isinstance(made, bytes) else made.encode("utf-8", "replace")
