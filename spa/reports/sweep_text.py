"""A sweep in words: the table's cells, for the screen and for HTML alike."""

from __future__ import annotations

from typing import cast

from rich.console import Group, RenderableType

from spa.reports import console, facts, run, verdicts, wording
from spa.reports.schema import Report
from spa.reports.screen import line, lines, shown, text
from spa.reports.sweep import Row, Sweep
from spa.reports.wording import Cell, Table

ELSEWHERE = "Latency"  # a screen has no room for it beside the speed
UNITS = {"macs": "MACs", "params": "parameters"}
TONES = {"passed": "good", "missed": "bad", "unreachable": "dim", "original": "plain"}


def ratios(sweep: Sweep, without: str = "") -> Table:
    """One row per ratio; what was not measured is a dash.  Only a check gives scores."""
    score = ("Score",) if sweep["check"] else ()
    sizes, speed = ("Parameters", "MACs", "Size"), ("Latency", "Speed")
    heads = ("Ratio", "Result", *sizes, "Drift", "Quality", *score, *speed)
    kept = [k for k, head in enumerate(heads) if head != without]
    every = [_cells(sweep, row) for row in sweep["rows"]]
    rows = [[cells[k] for k in kept] for cells in every]
    return Table([heads[k] for k in kept], rows, left=2)


def _cells(sweep: Sweep, row: Row) -> tuple[str, ...]:
    first = row["status"] == "original"
    return (
        wording.NOTHING if first else f"{row['ratio']:g}",
        Cell(result(sweep, row), TONES[row["status"]]),
        wording.count(row["params"]),
        wording.count(row["macs"]),
        wording.size(row["bytes"]),
        wording.NOTHING if first else wording.measure(row["drift"]),
        verdicts.cell(row["quality"]),
        *((wording.score(row["score"]),) if sweep["check"] else ()),
        wording.milliseconds(row["latency_ms"]),
        wording.NOTHING if first else wording.factor(row["speedup"]),
    )


def result(sweep: Sweep, row: Row) -> str:
    """What became of a ratio; without gates there is nothing to pass."""
    if row["status"] == "passed" and row["ratio"] == sweep["best"] and sweep["gates"]:
        return "smallest" if sweep["exit_code"] == 0 else "passed"
    return "pruned" if row["status"] == "passed" and not sweep["gates"] else row["status"]


def headline(sweep: Sweep) -> str:
    """The sweep in one line."""
    name = run.model_name({"input": sweep["input"]})  # type: ignore[typeddict-item]
    tried = [row for row in sweep["rows"] if row["status"] != "original"]
    words = f"{name}: {wording.plural(len(tried), 'ratio')} tried"
    if sweep["best"] is None or not sweep["gates"] or sweep["exit_code"]:
        return words
    (best,) = [row for row in tried if row["ratio"] == sweep["best"]]
    return f"{words}, {wording.percent(best['reduction'])} of the {unit(sweep)} can go"


def unit(sweep: Sweep) -> str:
    """What the ratios are ratios of, as people write it."""
    return UNITS.get(sweep["of"], sweep["of"])


def reasons(sweep: Sweep) -> list[tuple[str, str]]:
    """Why ratios came to nothing, as (ratio, what happened); the table says what to do next."""
    failed = [(row["ratio"], row["error"]) for row in sweep["rows"] if row["error"]]
    return [(f"{ratio:g}", error.partition("; ")[0]) for ratio, error in failed]


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
