"""A sweep in words: the table's cells, for the screen and for HTML alike."""

from __future__ import annotations

from typing import cast

from rich.console import Group, RenderableType

from spa.reports import console, facts, run, verdicts, wording
from spa.reports.schema import Report
from spa.reports.screen import line, lines, shown, text
from spa.reports.sweep import Sweep
from spa.reports.trials import Row, asked
from spa.reports.wording import Cell, Table

ELSEWHERE = "Latency"  # a screen has no room for it beside the speed
UNITS = {"macs": "MACs", "params": "parameters"}
TONES = {"passed": "good", "missed": "bad", "unreachable": "dim", "original": "plain"}


def ratios(sweep: Sweep, without: str = "") -> Table:
    """One row per budget; what was not measured is a dash.  Only a check gives scores."""
    every = [_cells(sweep, row) for row in sweep["rows"]]
    heads = [head for head in every[0] if head != without]
    return Table(heads, [[cells[head] for head in heads] for cells in every], left=2)


def _cells(sweep: Sweep, row: Row) -> dict[str, str]:
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


def result(sweep: Sweep, row: Row) -> str:
    """What became of a budget; without gates there is nothing to pass."""
    if is_best(sweep, row):
        most = "smallest" if sweep["by"] == "ratio" else "fastest"
        return most if sweep["exit_code"] == 0 else "passed"
    return "pruned" if row["status"] == "passed" and not sweep["gates"] else row["status"]


def is_best(sweep: Sweep, row: Row) -> bool:
    """Whether a row is that of the best model that passes."""
    return bool(row["status"] == "passed" and asked(row) == sweep["best"] and sweep["gates"])


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


def unit(sweep: Sweep) -> str:
    """What the ratios are ratios of, as people write it."""
    return UNITS.get(sweep["of"], sweep["of"])


def reasons(sweep: Sweep) -> list[tuple[str, str]]:
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
