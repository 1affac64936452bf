"""How two models differ."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from spa.reports import console, facts, moved, wording
from spa.reports.schema import Report
from spa.reports.screen import filled, line, table

MOST_LOSSY = 5


def screen(report: Report) -> RenderableType:
    """Show the comparison, every output's drift, and where equality cannot be asked for."""
    return Group(console.summary(report), *_outputs(report), *_lossy(report))


def _outputs(report: Report) -> list[RenderableType]:
    found = moved.outputs(report)
    if len(found) < 2:
        return []  # the summary has said it already
    made = table("Output", wording.DRIFT_TITLE, "Cosine")
    lines = [(m.name, m.said, wording.measure(m.cosine)) for m in found]
    return [Text(), filled(made, lines)]


def _lossy(report: Report) -> list[RenderableType]:
    found = facts.lossy(report)
    lines: list[RenderableType] = [
        line("Lossy", f"{fact['op']} {fact['node']}: {fact['reason']}")
        for fact in found[:MOST_LOSSY]
    ]
    if len(found) > MOST_LOSSY:
        lines.append(line("", f"{wording.plural(len(found) - MOST_LOSSY, 'op')} more", "dim"))
    return lines
