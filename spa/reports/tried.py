"""What was tried, in words: a table of it, and why some of it came to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spa.reports import verdicts, wording
from spa.reports.schema import Report
from spa.reports.trials import Row, asked
from spa.reports.wording import Cell, Table

ELSEWHERE = "Latency"  # a screen has no room for it beside the speed
TONES = {"passed": "good", "missed": "bad", "unreachable": "dim", "original": "plain"}
Tried = Mapping[str, Any]
"""A sweep, or a search of a report: `rows`, `by`, `of`, `best`, `gates`, `check`, `exit_code`."""


def tried(report: Report) -> Tried | None:
    """The search that led to a model, as a sweep has it; None where there was none."""
    found = report.get("search")
    if not found:
        return None
    of, rest = (report.get("recipe") or {}).get("of"), ("check", "exit_code")
    return {**found, "of": of, **{name: report.get(name) for name in rest}}


def told(report: Report) -> str:
    """What was sought and tried, in a sentence; "" where nothing was."""
    found = tried(report)
    if found is None:
        return ""
    what = "ratio" if found["by"] == "ratio" else "speed"
    words = f"{wording.plural(len(found['rows']) - 1, what)} tried"
    if found["best"] is None:
        return f"{words}, none passes"
    best = f"{found['best']:g}" + ("" if what == "ratio" else "x")
    return f"{words}, {best} is the most that passes"


def ratios(sweep: Tried, without: str = "") -> Table:
    """One row per budget; what was not measured is a dash.  Only a check gives scores."""
    every = [_cells(sweep, row) for row in sweep["rows"]]
    heads = [head for head in every[0] if head != without]
    return Table(heads, [[cells[head] for head in heads] for cells in every], left=2)


def _cells(sweep: Tried, row: Row) -> dict[str, str]:
    first, timed = row["status"] == "original", sweep["by"] == "speedup"
    cells = {
        "Asked" if timed else "Ratio": wording.NOTHING if first else named(row),
        "Result": Cell(result(sweep, row), TONES[row["status"]]),
        "Parameters": wording.count(row["params"]),
        "MACs": wording.count(row["macs"]),
        "Size": wording.size(row["bytes"]),
        "Drift": wording.NOTHING if first else wording.measure(row["drift"]),
        "Quality": verdicts.cell(row["quality"]),
    }
    if timed and any(each["agreement"] is not None for each in sweep["rows"]):
        cells["Agrees"] = wording.NOTHING if first else wording.percent(row["agreement"])
    if sweep["check"]:
        cells["Score"] = wording.score(row["score"])
    cells["Latency"] = wording.milliseconds(row["latency_ms"])
    cells["Speed"] = wording.NOTHING if first else _speed(row, timed)
    return cells


def named(row: Row) -> str:
    """The budget of a row."""
    return f"{row['ratio']:g}" if row["asked_speedup"] is None else f"{row['asked_speedup']:g}x"


def _speed(row: Row, timed: bool) -> str:
    """The speed-up; with its interval, where that is the budget."""
    low, high = row["speedup_low"], row["speedup_high"]
    if not timed or row["speedup"] is None or low is None or high is None:
        return wording.factor(row["speedup"])
    return f"{row['speedup']:.2f}x ({low:.2f} to {high:.2f})"


def result(sweep: Tried, row: Row) -> str:
    """What became of a budget; without gates there is nothing to pass."""
    if is_best(sweep, row):
        most = "smallest" if sweep["by"] == "ratio" else "fastest"
        return most if sweep["exit_code"] == 0 else "passed"
    return "pruned" if row["status"] == "passed" and not sweep["gates"] else row["status"]


def is_best(sweep: Tried, row: Row) -> bool:
    """Whether a row is that of the best model that passes."""
    return bool(row["status"] == "passed" and asked(row) == sweep["best"] and sweep["gates"])


def reasons(sweep: Tried) -> list[tuple[str, str]]:
    """Why budgets came to nothing, as (budget, what happened); the table says what to do next.

    Also which are met by what was made for a larger one.
    """
    said = []
    for row in sweep["rows"]:
        why = (row["error"] or "").partition("; ")[0]
        if row["instead"] is not None:
            unit = "" if row["asked_speedup"] is None else "x"
            model = f"the model for {row['instead']:g}{unit} removes more and keeps more"
            why = f"{model}; {why}" if why else model
        said.append((named(row), why))
    return [each for each in said if each[1]]
