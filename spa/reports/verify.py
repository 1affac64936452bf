"""How two models differ."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from spa.reports import console, facts, moved, wording
from spa.reports.schema import Report
from spa.reports.screen import line, shown

MOST_LOSSY = 5


def screen(report: Report) -> RenderableType:
    """Show the comparison, every output's drift, and where equality cannot be asked for."""
    parts: list[RenderableType] = [console.summary(report)]
    outputs = moved.table(report)
    if len(outputs.rows) > 1:  # of one the summary has said it already
        parts += [Text(), shown(outputs)]
    found = [f"{each['op']} {each['node']}: {each['reason']}" for each in facts.lossy(report)]
    parts += [line("Lossy", words) for words in found[:MOST_LOSSY]]
    if len(found) > MOST_LOSSY:
        parts.append(line("", f"{wording.plural(len(found) - MOST_LOSSY, 'op')} more", "dim"))
    return Group(*parts)
