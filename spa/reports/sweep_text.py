"""A sweep in words: the table's cells, for the screen and for HTML alike."""

from __future__ import annotations

from typing import cast

from rich.console import Group, RenderableType

from spa.reports import console, facts, run, wording
from spa.reports.schema import Report
from spa.reports.screen import line, lines, shown, text
from spa.reports.sweep import Sweep
from spa.reports.tried import ELSEWHERE, Tried, is_best, ratios, reasons

UNITS = {"macs": "MACs", "params": "parameters"}


def headline(sweep: Sweep) -> str:
    """The sweep in one line."""
    name = run.model_name({"input": sweep["input"]})  # type: ignore[typeddict-item]
    tried = [row for row in sweep["rows"] if row["status"] != "original"]
    what = "ratio" if sweep["by"] == "ratio" else "speed"
    words = f"{name}: {wording.plural(len(tried), what)} tried"
    best = next((row for row in tried if is_best(sweep, row)), None)
    if best is None or sweep["exit_code"]:
        return words
    if sweep["by"] == "speedup":
        return f"{words}, {wording.factor(best['speedup'])} at most"
    return f"{words}, {wording.percent(best['reduction'])} of the {unit(sweep)} can go"


def unit(sweep: Tried) -> str:
    """What the ratios are ratios of, as people write it."""
    return UNITS.get(sweep["of"], str(sweep["of"]))


def gates(sweep: Sweep) -> str:
    """What a model had to pass."""
    known = {"name": "", "value": None, "passed": True}
    asked = [
        facts.gate_words({**known, "name": name, "limit": limit})  # type: ignore[typeddict-item]
        for name, limit in sweep["gates"].items()
    ]
    return ", ".join(f"{each.name} {each.limit}" for each in asked)


def summary(sweep: Sweep) -> RenderableType:
    """Show a table of the ratios, and what explains it; a report where none was tried."""
    if not sweep.get("rows"):
        return console.summary(cast(Report, sweep))
    parts: list[RenderableType] = [text(headline(sweep), "title"), shown(ratios(sweep, ELSEWHERE))]
    if sweep["gates"]:
        parts.append(line("Gates", gates(sweep)))
    if sweep["check"]:
        parts.append(line("Check", sweep["check"]["command"], "dim"))
    parts += [line(ratio, words, "dim") for ratio, words in reasons(sweep)]
    if sweep.get("next"):
        parts.append(line("Next", sweep["next"], "title"))
    parts += [line("Warning", words, "warning") for words in sweep["warnings"]]
    parts.append(line("Time", wording.seconds(sweep["timings"].get("total")), "dim"))
    return Group(*parts, *lines("Files", [each["path"] for each in sweep.get("files", ())]))
