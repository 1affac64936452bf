"""A sweep in words: the table's cells, for the screen and for HTML alike."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from spa.reports import facts, wording
from spa.reports.screen import filled, line, table, text
from spa.reports.sweep import Row, Sweep

UNITS = {"macs": "MACs", "params": "parameters"}
TONES = {"passed": "good", "missed": "bad", "unreachable": "dim", "original": "plain"}


def heads(sweep: Sweep) -> tuple[str, ...]:
    """The table's columns; a score only where a check gives one."""
    score = ("Score",) if sweep["check"] else ()
    return ("Ratio", "Result", "Parameters", "MACs", "Size", "Drift", *score, "Latency", "Speed")


def cells(sweep: Sweep, row: Row) -> tuple[str, ...]:
    """A row as people read it; what was not measured is a dash."""
    sizes = (wording.count(row["params"]), wording.count(row["macs"]), wording.size(row["bytes"]))
    score = (wording.score(row["score"]),) if sweep["check"] else ()
    latency = wording.milliseconds(row["latency_ms"])
    first = row["status"] == "original"
    ratio = wording.NOTHING if first else f"{row['ratio']:g}"
    drift = wording.NOTHING if first else wording.measure(row["drift"])
    speed = wording.NOTHING if first else wording.factor(row["speedup"])
    return (ratio, result(sweep, row), *sizes, drift, *score, latency, speed)


def result(sweep: Sweep, row: Row) -> str:
    """What became of a ratio; without gates there is nothing to pass."""
    if row["status"] == "passed" and row["ratio"] == sweep["best"] and sweep["gates"]:
        return "smallest" if sweep["exit_code"] == 0 else "passed"
    return "pruned" if row["status"] == "passed" and not sweep["gates"] else row["status"]


def headline(sweep: Sweep) -> str:
    """The sweep in one line."""
    name = facts.model_name({"input": sweep["input"]})  # type: ignore[typeddict-item]
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


def summary(sweep: Sweep, files: Sequence[str]) -> RenderableType:
    """Show a table of the ratios, and what explains it."""
    made = table(*heads(sweep), left=2)
    rows = []
    for row in sweep["rows"]:
        ratio, result, *rest = cells(sweep, row)
        rows.append((ratio, text(result, TONES[row["status"]]), *rest))
    parts: list[RenderableType] = [text(headline(sweep), "title"), filled(made, rows)]
    if sweep["gates"]:
        parts.append(line("Gates", gates(sweep)))
    if sweep["check"]:
        parts.append(line("Check", sweep["check"]["command"], "dim"))
    parts += [line(ratio, words, "dim") for ratio, words in reasons(sweep)]
    parts += [line("Warning", words, "warning") for words in sweep["warnings"]]
    spent = wording.seconds(sweep["timings"].get("total"))
    parts.append(line("Time", spent, "dim"))
    written = [sweep["output"]["path"]] if sweep["output"] else []
    parts += [line("" if k else "Files", each) for k, each in enumerate([*written, *files])]
    return Group(*parts)
