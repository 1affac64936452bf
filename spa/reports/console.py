"""The report on a screen: one table, then the few lines that explain it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from spa.reports import facts, latency, wording
from spa.reports.schema import Report
from spa.reports.screen import line, lines, shown

MOST_REASONS = 5
MOST_NODES = 2


def summary(report: Report, files: Sequence[Path] = ()) -> RenderableType:
    """Show Original | Pruned | Change, the groups, the reasons, the warnings and the files."""
    return Group(*_parts(report, files))


def _parts(report: Report, files: Sequence[Path]) -> Iterator[RenderableType]:
    compared = facts.compared(report)
    if compared:
        yield shown(compared)
    if report.get("groups"):
        yield line("Groups", facts.groups(report).sentence)
    yield from reasons(report)
    yield from _verification(report)
    for k, words in enumerate(latency.sentences(report)):
        yield line("" if k else "Budget", words, "dim" if k else "plain")
    yield from warnings(report)
    for words in report.get("notes") or []:
        yield line("Note", words, "dim")
    total = facts.total_seconds(report)
    if total:
        yield line("Time", wording.seconds(total) + facts.memory(report), "dim")
    written = facts.model(report, "output").get("path")
    yield from lines("Files", [*([written] if written else []), *files])


def reasons(report: Report, most: int = MOST_REASONS) -> Iterator[RenderableType]:
    """Why channels are frozen, the largest reasons first."""
    found = facts.reasons(report)
    yield from lines("Frozen", map(_why, found[:most]))
    if len(found) > most:
        yield line("", f"{wording.plural(len(found) - most, 'reason')} more", "dim")


def _why(each: facts.Reason) -> str:
    words = f"{wording.plural(each.channels, 'channel')}: {each.reason} ({each.ops}"
    nodes = [wording.shorten(node, 48) for node in each.nodes[:MOST_NODES]]
    if not nodes:
        return f"{words})"
    return f"{words}; {', '.join(nodes)}{', …' if each.places > len(nodes) else ''})"


def _verification(report: Report) -> Iterator[RenderableType]:
    verify = report.get("verify")
    if verify:
        proof = verify.get("proof")
        whole = proof is None or proof["status"] == "complete"
        tone = ("good" if whole else "warning") if verify["passed"] else "bad"
        yield line("Verified", facts.verdict(report), tone)
    for gate in facts.gates(report):
        words = f"{gate.name} {'passed' if gate.passed else 'FAILED'}: {gate.sentence}"
        yield line("Gate", words, "good" if gate.passed else "bad")
    check = facts.check(report)
    if check:
        yield line("Check", check.sentence, "dim" if check.passed else "bad")


def warnings(report: Report) -> Iterator[RenderableType]:
    """Every warning, one line each."""
    for words in report.get("warnings") or []:
        yield line("Warning", words, "warning")
