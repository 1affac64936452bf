"""A report in one sentence, and in one small table: what `repr` and a notebook show of a result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

from spa.reports import bench, facts, moved, run, tried, verdicts, wording
from spa.reports.schema import Report
from spa.reports.sweep import Sweep
from spa.reports.template import render

SIZES = (("macs", "MACs"), ("params", "parameters"), ("bytes", "file"))


def sentence(report: Mapping[str, Any]) -> str:
    """What was done to which model, and what came of it."""
    if "models" in report:
        return f"bench: {', '.join(map(_timed, report['models']))}"
    known, command = cast(Report, report), str(report["command"])
    words = [f"{command} {run.model_name(known)}"]
    if command == "sweep":
        best, by = report["best"], "ratio" if report["by"] == "ratio" else "speed-up"
        found = f"no {by} passes" if best is None else f"best {by} {best:g}"
        words += [wording.plural(len(report["rows"]) - 1, by), found]
    elif command == "inspect":
        words.append(facts.groups(known).sentence.replace("0 groups pruned, ", ""))
    else:
        words += _changes(known)
    if report.get("error"):
        words.append(f"failed: {wording.printable(report['error'])}")
    return "; ".join((words[0], ", ".join(words[1:]))).rstrip("; ")


def table(report: Mapping[str, Any]) -> str:
    """The rows of a report as HTML."""
    if "models" in report:
        found = bench.compared(cast(bench.Bench, report))
    elif "rows" in report:
        found = tried.ratios(cast(Sweep, report))
    else:
        found = facts.comparison(cast(Report, report))
    return render("notebook.html", words=sentence(report), found=found)


def _changes(report: Report) -> list[str]:
    told = [(label, facts.removed_share(report, key)) for key, label in SIZES]
    words = [f"{label} {wording.change(share)}" for label, share in told if share is not None]
    latency = report.get("latency")
    if latency and latency["speedup"]:
        words.append(f"{latency['speedup']:.2f}x as fast")
    worst = moved.worst_drift(report)
    if worst is not None:
        words.append(f"drift {wording.measure(worst[1])}")
    found = report.get("verdicts")
    if found:
        words += [f"{which} {found[which]['verdict']}" for which in verdicts.LABELS]
    return words


def _timed(row: Mapping[str, Any]) -> str:
    return f"{wording.printable(PurePath(row['path']).name)} {row['median_ms']:.3g} ms"
