"""What was run, as every face of a report says it: the models, the command, time and memory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, cast

from spa.reports import wording
from spa.reports.branches import BranchFacts
from spa.reports.schema import Report
from spa.reports.wording import Cell, Table

MOST_BOTTLENECKS = 5
THE_RUN = "the run itself"


def model(report: Report, side: Literal["input", "output"]) -> Mapping[str, Any]:
    """Return what is known about one of the two models, or nothing."""
    found = report.get(side)
    return cast("Mapping[str, Any]", found) if found else {}


def model_name(report: Report) -> str:
    """Return the model's file name, or a word in its place."""
    path = model(report, "input").get("path")
    return wording.printable(PurePath(str(path)).name if path else "model")


def files(report: Report) -> Table:
    """Return the models and all that was written, each with its digest."""
    made = model(report, "output")
    every: list[Mapping[str, Any]] = [{**model(report, "input"), "kind": "input"}]
    every += report.get("files") or [{**made, "kind": "output"}]
    rows = [
        ("output" if each["path"] == made.get("path") else each["kind"], each["path"], digest)
        for each in every
        if each.get("path")
        for digest in [each.get("sha256") or wording.NOTHING]
    ]
    return Table(("File", "Path", "SHA-256"), rows, left=3)


def branches(report: Report, section: Literal["branches", "bypassed"]) -> Table:
    """Return what may be bypassed, or was; of nested branches both count the inner one."""
    whole = model(report, "input").get("macs")
    heads = ["Branch", "Kind", "Ended by", "Nodes", "Parameters", "MACs", "Share", ""]
    every: list[BranchFacts] = report.get(section) or []
    several = len(heads) - all(each["reason"] is None for each in every)
    rows = [_branch(each, whole)[:several] for each in every]
    return Table(heads[:several], rows, left=3)


def _branch(branch: BranchFacts, whole: int | None) -> tuple[str, ...]:
    return (
        wording.shorten(wording.printable(branch["name"]), 48),
        branch["kind"],
        wording.shorten(wording.printable(f"{branch['op']} {branch['node']}"), 40),
        f"{branch['nodes']:,}",
        wording.count(branch["params"]),
        wording.count(branch["macs"]),
        wording.percent(branch["macs"] / whole if whole else None),
        Cell(branch["reason"] or "", "dim"),
    )


def command_line(report: Report) -> str:
    """Return what was typed, "" where nobody did."""
    return shlex.join(report.get("command_line") or ())


def recipe(report: Report) -> Table:
    """Return the options that say something."""
    told = report.get("recipe") or {}
    rows = [(name.replace("_", "-"), wording.value(value)) for name, value in told.items()]
    said = [row for row in rows if row[1] not in ("", wording.NOTHING)]
    return Table(("Option", "Value"), said, left=2)


def timings(report: Report) -> list[tuple[str, float]]:
    """Return the stages that took time, in their order, without the total."""
    spent = report.get("timings") or {}
    return [(stage, took) for stage, took in spent.items() if stage != "total" and took]


def total_seconds(report: Report) -> float:
    """Return how long everything took, 0 where nobody looked."""
    spent = report.get("timings") or {}
    return float(spent.get("total") or sum(took for _, took in timings(report)))


def memory(report: Report) -> str:
    """Return the largest use of memory, as the end of a sentence about time."""
    peak = report.get("peak_rss_bytes")
    return f", at most {wording.size(peak)} of memory" if peak else ""


def budget(report: Report) -> list[str]:
    """Say of a budget of time what was asked, predicted and measured, and what holds the rest."""
    told = report.get("latency_budget")
    if not told:
        return []
    threads = wording.plural(told["threads"], "thread") if told["threads"] else "default threads"
    shares = (
        f"{wording.percent(told['measured'])} of the time gone, asked for "
        f"{wording.percent(told['asked'])} (to within {wording.percent(told['tolerance'])}), "
        f"predicted {wording.percent(told['predicted'])}; {told['provider']}, {threads}"
    )
    points = told["points"]
    timed = f"{points['measured']:,} timings taken in {wording.seconds(told['seconds'])}"
    timed += f", {points['cached']:,} known from earlier runs"
    timed += f", {points['estimated']:,} estimated" if points["estimated"] else ""
    named = []
    for bottleneck in told["bottlenecks"][:MOST_BOTTLENECKS]:
        name = THE_RUN if bottleneck["op"] == "run" else wording.printable(bottleneck["op"])
        fixed = "" if bottleneck["shrinks"] else " (fixed)"
        named.append(f"{name} {wording.percent(bottleneck['share'])}{fixed}")
    return [shares, timed, f"time before: {', '.join(named)}"]


def depth(report: Report) -> list[str]:
    """Say how many branches went, and what else was tried."""
    told = report.get("depth")
    if not told:
        return []
    tried = [
        f"{each['branches']}: {wording.measure(each['error']) if each['error'] else 'out of reach'}"
        for each in told["tried"]
    ]
    gone = told["chosen"]
    return [
        f"{gone} branch{'' if gone == 1 else 'es'} and widths for the rest keep most; error of the "
        f"outputs by the number of branches: {', '.join(tried)}"
    ]


def tuned(report: Report) -> list[str]:
    """Say of tuning what it brought, at which rate, and how long it took."""
    told = report.get("tune")
    if not told:
        return []
    before, after = wording.measure(told["before"]), wording.measure(told["after"])
    on = f"{told['held_rows']:,} held-back inputs"
    brought = f"drift {before} → {after} on {on}"
    if not told["kept"]:
        brought = f"drift {before} on {on}, which nothing brought down: weights are as they came in"
    ended = "" if told["stopped"] == "end" else f" of {told['planned']:,} ({told['stopped']})"
    views = f" in {told['views']} views each" if told["views"] > 1 else ""
    rates = ", ".join(f"{rate}: {wording.measure(d)}" for rate, d in told["rates"].items())
    how = (
        f"{told['steps']:,}{ended} steps on {told['rows']:,} inputs{views} "
        f"at a rate of {told['rate']} (after short runs {rates}), seed {told['seed']}, "
        f"{told['device']}, {wording.seconds(told['seconds'])}"
    )
    if not told.get("asked", True):
        how += "; by default, --tune=off leaves it out"
    return [brought, how]
