"""The summary of a zoo as one HTML page: no script, no network, nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spa.reports import wording
from spa.reports.html_page import page
from spa.reports.html_style import STYLE
from spa.reports.markup import Child, Markup, element, join
from spa.reports.zoo import Row, Zoo, is_failure
from spa.reports.zoo_plot import Axis, Dot, scatter
from spa.reports.zoo_text import cells, examples, headline, heads, share_removed, totals

MORE_STYLE = """
.plots { display: grid; gap: 0 16px; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); }
.plot { display: block; width: 100%; height: auto; }
.plot text { fill: var(--dim); font-size: 12px; } .plot .title { fill: var(--text); }
.plot .grid { stroke: var(--line); } .plot .mark { stroke: var(--dim); stroke-dasharray: 4 4; }
.plot circle { fill: var(--kept); fill-opacity: .62; stroke: var(--card); }
.plot circle.warn { fill: var(--s3); }
.plot circle:hover { fill-opacity: 1; stroke: var(--text); }
.models td { white-space: nowrap; } .models td:first-child { white-space: normal;
  overflow-wrap: anywhere; min-width: 16em; }
.models .why td { border-top: 0; padding-top: 0; white-space: normal; color: var(--dim); }
.wide th, .whys td:nth-child(-n+3), .counts td:nth-child(-n+2) {
  white-space: nowrap; overflow-wrap: normal; }
main.wide { max-width: 1240px; }
"""


def to_html(zoo: Zoo) -> str:
    """Write the whole page."""
    body = element(
        "main",
        _head(zoo),
        _error(zoo),
        _tiles(zoo),
        _plots(zoo),
        _outcomes(zoo),
        _models(zoo),
        _foot(zoo),
        class_="wide",
    )
    return page(f"spa zoo: {headline(zoo)}", STYLE + MORE_STYLE, body)


def _head(zoo: Zoo) -> Markup:
    shard = f" · shard {zoo['shard']}" if zoo["shard"] else ""
    return element(
        "header",
        element("h1", headline(zoo)),
        element("span", zoo["status"], class_="pill" if zoo["status"] == "ok" else "pill bad"),
        element("span", f"spa zoo · {zoo['spa_version']} · {zoo['engine']}{shard}", class_="dim"),
    )


def _error(zoo: Zoo) -> Markup | None:
    if not zoo["error"]:
        return None
    code = element("p", f"Exit code {zoo['exit_code']}", class_="dim")
    return element("section", element("p", zoo["error"]), code, class_="card stop")


def _tiles(zoo: Zoo) -> Markup:
    sums, total = zoo["sums"], zoo["totals"]
    bad = sum(is_failure(row, zoo["accepted"]) for row in zoo["models"])
    tiles = [
        (
            "Pruned",
            f"{total['pruned']:,} of {total['models']:,}",
            f"{bad:,} failed",
            "bad" * (bad > 0),
        )
    ]
    for label, of, write in (
        ("Size", "bytes", wording.size),
        ("Parameters", "params", wording.count),
        ("MACs", "macs", wording.count),
    ):
        before, after = sums[f"{of}_before"], sums[f"{of}_after"]
        change = wording.change(1 - after / before if before else None)
        tiles.append((label, change, f"{write(before)} → {write(after)}, pruned models", ""))
    peak = wording.size(zoo["peak_rss_bytes"])
    work = f"{wording.seconds(zoo['model_seconds'])} of work, {zoo['reused']:,} known before"
    tiles.append(("Time", wording.seconds(zoo["wall_seconds"]), work, ""))
    tiles.append(("Memory", peak, "the largest process", ""))
    made = [
        element(
            "div",
            element("span", label),
            element("b", value, class_=tone or None),
            element("span", detail),
            class_="tile",
        )
        for label, value, detail, tone in tiles
    ]
    return element("div", *made, class_="tiles")


def _plots(zoo: Zoo) -> Markup | None:
    rows = [row for row in zoo["models"] if row["status"] == "pruned"]
    size = Axis("parameters that are left, %", linear=True)
    drift = Axis(wording.DRIFT, mark=wording.LARGE_DRIFT)
    speed = Axis("speed-up (latency before / after)", mark=1.0)
    plots = [
        _card("Size against drift", scatter(_dots(rows, "drift"), size, drift)),
        _card("Size against latency", scatter(_dots(rows, "speedup"), size, speed)),
    ]
    shown = [plot for plot in plots if plot]
    return element("div", *shown, class_="plots") if shown else None


def _dots(rows: Iterable[Row], of: str) -> list[Dot]:
    dots = []
    for row in rows:
        removed, value = share_removed(row, "params"), row[of]  # type: ignore[literal-required]
        if removed is not None and value is not None:
            bad = value > wording.LARGE_DRIFT if of == "drift" else value < 1
            dots.append(Dot(100 * (1 - removed), value, _title(row), "warn" if bad else None))
    return dots


def _title(row: Row) -> str:
    size = f"{wording.size(row['bytes_before'])} → {wording.size(row['bytes_after'])}"
    before, after = wording.milliseconds(row["before_ms"]), wording.milliseconds(row["after_ms"])
    return f"{row['name']}: {size}, drift {wording.measure(row['drift'])}, {before} → {after}"


def _outcomes(zoo: Zoo) -> Markup | None:
    rows = [
        (
            f"{len(each['models']):,}",
            each["exit_code"],
            each["status"],
            each["reason"],
            examples(each),
        )
        for each in zoo["reasons"]
    ]
    titles = ("Models", "Exit code", "Status", "Reason", "For example")
    meanings = _table(("Status", "Models", "Meaning"), totals(zoo), "counts")
    reasons = _table(titles, rows, "whys")
    return _card("What became of them", meanings, reasons)


def _models(zoo: Zoo) -> Markup | None:
    lines: list[Markup] = []
    columns = heads(zoo)
    for row in zoo["models"]:
        shown = cells(row, columns)
        tone = "good" if row["status"] == "pruned" else None
        tone = "bad" if is_failure(row, zoo["accepted"]) else tone
        words: list[Child] = [element("code", shown[0]), element("span", shown[1], class_=tone)]
        lines.append(_line([*words, *shown[2:]], 2))
        if row["error"]:
            why = element("td", row["error"], colspan=len(columns))
            lines.append(element("tr", why, class_="why"))
    if not lines:
        return None
    titles = [element("th", h, class_="number" if k >= 2 else None) for k, h in enumerate(columns)]
    return _card("Models", element("table", element("tr", *titles), *lines, class_="models"))


def _line(row: Sequence[Child], words: int) -> Markup:
    made = (element("td", c, class_="number" if k >= words else None) for k, c in enumerate(row))
    return element("tr", *made)


def _table(
    names: Sequence[str], rows: Iterable[Sequence[Child]], kind: str | None = None
) -> Markup | None:
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    if not lines:
        return None
    titles = element("tr", *(element("th", name) for name in names))
    return element("table", titles, *lines, class_=kind)


def _card(title: str, *children: Child) -> Markup | None:
    content = join(*children)
    return element("section", element("h2", title), content, class_="card") if content else None


def _foot(zoo: Zoo) -> Markup:
    pending = element("p", f"Not tried: {', '.join(zoo['pending'])}") if zoo["pending"] else None
    return element("footer", pending, element("p", "in ", element("code", zoo["dest"])))
