"""The report on a screen: one table, then the few lines that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from spa.reports import facts, latency, wording
from spa.reports.schema import Report
from spa.reports.screen import filled, line, table, text

MOST_REASONS = 5
MOST_NODES = 2


def summary(report: Report, files: Sequence[Path] = ()) -> RenderableType:
    """Show Original | Pruned | Change, the groups, the reasons, the warnings and the files."""
    lines = [
        *_groups(report),
        *reasons(report),
        *_verification(report),
        *_budget(report),
        *warnings(report),
        *_notes(report),
        *_time(report),
        *_files(report, files),
    ]
    return Group(*comparison(report), *lines)


def comparison(report: Report) -> list[RenderableType]:
    """The table, or nothing where there is nothing to compare."""
    found = facts.comparison(report)
    if not found:
        return []
    made = table("", "Original", "Pruned", "Change")
    lines = [(row.label, row.before, row.after, text(row.change, row.tone)) for row in found]
    return [filled(made, lines)]


def _groups(report: Report) -> list[Table]:
    return [line("Groups", facts.groups(report).sentence)] if report.get("groups") else []


def reasons(report: Report, most: int = MOST_REASONS) -> list[Table]:
    """Why channels are frozen, the largest reasons first."""
    found = facts.reasons(report)
    lines = []
    for index, each in enumerate(found[:most]):
        words = f"{wording.plural(each.channels, 'channel')}: {each.reason} ({each.ops}"
        nodes = [wording.shorten(node, 48) for node in each.nodes[:MOST_NODES]]
        words += (
            f"; {', '.join(nodes)}{', …' if each.places > len(nodes) else ''})" if nodes else ")"
        )
        lines.append(line("Frozen" if index == 0 else "", words))
    if len(found) > most:
        lines.append(line("", f"{wording.plural(len(found) - most, 'reason')} more", "dim"))
    return lines


def _verification(report: Report) -> list[Table]:
    lines = []
    verify = report.get("verify")
    if verify:
        proof = verify.get("proof")
        whole = proof is None or proof["status"] == "complete"
        tone = ("good" if whole else "warning") if verify["passed"] else "bad"
        lines.append(line("Verified", facts.verdict(report), tone))
    for gate in facts.gates(report):
        words = f"{gate.name} {'passed' if gate.passed else 'FAILED'}: {gate.sentence}"
        lines.append(line("Gate", words, "good" if gate.passed else "bad"))
    check = facts.check(report)
    if check:
        lines.append(line("Check", check.sentence, "dim" if check.passed else "bad"))
    return lines


def _budget(report: Report) -> list[Table]:
    found = enumerate(latency.sentences(report))
    return [line("" if k else "Budget", words, "dim" if k else "plain") for k, words in found]


def warnings(report: Report) -> list[Table]:
    """Every warning, one line each."""
    return [line("Warning", words, "warning") for words in report.get("warnings") or []]


def _notes(report: Report) -> list[Table]:
    return [line("Note", words, "dim") for words in report.get("notes") or []]


def _time(report: Report) -> list[Table]:
    total = facts.total_seconds(report)
    if not total:
        return []
    memory = report.get("peak_rss_bytes")
    words = wording.seconds(total) + (
        f", at most {wording.size(memory)} of memory" if memory else ""
    )
    return [line("Time", words, "dim")]


def _files(report: Report, files: Sequence[Path]) -> list[Table]:
    written = facts.model(report, "output").get("path")
    paths = [str(written)] if written else []
    return [
        line("Files" if index == 0 else "", path)
        for index, path in enumerate([*paths, *map(str, files)])
    ]
