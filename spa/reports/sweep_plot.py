"""A sweep as a picture, what is lost against what is gone: SVG, HTML and, where it can be, PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING

from spa.errors import UsageError
from spa.reports import wording
from spa.reports.plot import HEIGHT, WIDTH, Axis, Dot, scatter
from spa.reports.sweep import Sweep
from spa.reports.sweep_text import gates, headline, unit
from spa.reports.template import render
from spa.reports.trials import Row
from spa.reports.tried import Tried, is_best, named, ratios

if TYPE_CHECKING:
    from markupsafe import Markup

CONVERTER = "cairosvg"
HEAD = 44  # pixels of the picture's own title


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


def panels(sweep: Tried) -> list[Markup]:
    """One plot per thing that was measured, over the share that is gone, or the measured speed."""
    timed = sweep["by"] == "speedup"
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
    if not timed:
        asked.append(("latency (ms)", lambda row: row["latency_ms"], None))
    elif any(row["agreement"] is not None for row in tried):
        asked.append(("labels that stay", _agreement, limits.get("min_agreement")))
    asked.append(("file size (MB)", _megabytes, None))
    drawn = [_panel(sweep, tried, title, of, mark) for title, of, mark in asked]
    return [each for each in drawn if each is not None]


def _agreement(row: Row) -> float | None:
    return 1.0 if row["status"] == "original" else row["agreement"]


def _megabytes(row: Row) -> float | None:
    return None if row["bytes"] is None else row["bytes"] / 1e6


def _panel(
    sweep: Tried,
    rows: Sequence[Row],
    title: str,
    of: Callable[[Row], float | None],
    mark: float | None,
) -> Markup | None:
    timed = sweep["by"] == "speedup"
    tones = {"missed": "bad", "passed": None, "original": None}
    dots = []
    for row in rows:
        value, at = of(row), row["speedup"] if timed else 100 * (row["reduction"] or 0.0)
        if value is None or at is None:
            continue
        how = f"{at:.2f}x as fast" if timed else f"{at:.1f} % gone"
        words = f"{named(row)} asked: {how}, {title} {wording.measure(value)}"
        dots.append(Dot(at, value, words, "good" if is_best(sweep, row) else tones[row["status"]]))
    dots.sort(key=lambda dot: dot.x)
    across = Axis(f"{unit(sweep)} gone (%)", linear=True)
    if timed:
        across = Axis("times as fast, measured", linear=True, origin=1.0)
    what = "speeds" if timed else "ratios"
    return scatter(dots, across, Axis(title, linear=True, mark=mark), joined=True, what=what)


def to_svg(sweep: Sweep) -> str:
    """Write the panels side by side, as one picture of its own."""
    shown = panels(sweep)
    columns = min(len(shown), 2)
    size = {"wide": columns * WIDTH, "high": HEAD + -(-len(shown) // columns) * HEIGHT}
    placed = [((k % columns) * WIDTH, HEAD + k // columns * HEIGHT, p) for k, p in enumerate(shown)]
    one = {"width": WIDTH, "height": HEIGHT}
    return render("sweep.svg", headline=headline(sweep), panels=placed, **size, **one)


def to_html(sweep: Sweep) -> str:
    """Write a page with the panels and the table."""
    words = {"headline": headline(sweep), "gates": gates(sweep)}
    return render("sweep.html", sweep=sweep, panels=panels(sweep), table=ratios(sweep), **words)


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
