"""A zoo on the screen: lines while it runs, a table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from spa.reports import verdicts, wording
from spa.reports.screen import line, shown, text
from spa.reports.wording import Table
from spa.reports.zoo import Row, Zoo
from spa.reports.zoo_page import change, examples, headline, models, totals

ELSEWHERE = ("Latency", "Score before")  # a screen has no room for it beside what came of it
MOST_ROWS = 100
LAST = 8
WIDTH = 36


def summary(zoo: Zoo) -> RenderableType:
    """Show totals, why models came to nothing, and where to read more."""
    parts: list[RenderableType] = [text(headline(zoo), "title")]
    if zoo["models"]:
        found = models(zoo, without=ELSEWHERE)
        rows = [(wording.shorten(wording.printable(row[0]), WIDTH), *row[1:]) for row in found.rows]
        parts.append(shown(Table(found.heads, rows[:MOST_ROWS], left=2)))
    hidden = len(zoo["models"]) - MOST_ROWS
    if hidden > 0:
        parts.append(text(f"{hidden:,} more are in the summary files", "dim"))
    parts += [line(status, f"{count}  {words}") for status, count, words in totals(zoo).rows]
    for reason in zoo["reasons"]:
        words = f"{len(reason['models'])} × {reason['reason']} ({examples(reason)})"
        parts.append(line(f"exit {reason['exit_code']}", words, "dim"))
    spent = f"{wording.seconds(zoo['wall_seconds'])}, {zoo['reused']:,} known before"
    parts.append(line("Time", f"{spent}, at most {wording.size(zoo['peak_rss_bytes'])} a process"))
    part = f".{zoo['shard'].replace('/', '-of-')}" if zoo["shard"] else ""
    written = PurePath(zoo["dest"], f"summary{part}.(json|csv|md|html|xml)")
    parts.append(line("Summary", written))
    return Group(*parts)


def sentence(row: Row, done: int, total: int, *, reused: bool) -> str:
    """One finished model in one line."""
    place = f"[{done}/{total}] {row['name']}: {row['status']}"
    if reused:
        return f"{place}, known before"
    if row["status"] != "pruned":
        return f"{place} (exit code {row['exit_code']}): {row['error']}"
    drift = f"quality {row['quality']}, drift {wording.measure(row['drift'])}"
    spent = wording.seconds(row["seconds"])
    return f"{place}, {change(row, 'bytes')} bytes, {change(row, 'macs')} MACs, {drift}, {spent}"


def live(
    running: Mapping[str, float], last: Sequence[Row], counts: Mapping[str, int], total: int
) -> RenderableType:
    """What happens now: counts, what runs and since when, and what ended last."""
    made = Grid.grid(padding=(0, 2))
    made.add_column(overflow="ellipsis", no_wrap=True, max_width=WIDTH)
    for _ in range(4):
        made.add_column(no_wrap=True)
    for row in last[-LAST:]:
        made.add_row(
            Text(wording.printable(row["name"])),
            text(row["status"], "good" if row["status"] == "pruned" else "warning"),
            text(change(row, "bytes")),
            text(verdicts.cell(row["quality"])),
            text(wording.seconds(row["seconds"])),
        )
    for name, seconds in running.items():
        made.add_row(
            Text(wording.printable(name)), text("running", "dim"), "", "", wording.seconds(seconds)
        )
    done = sum(counts.values())
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    of = f"{done} of {total} done: {words}" if total else "starting"
    return Group(made, text(of, "title"))
