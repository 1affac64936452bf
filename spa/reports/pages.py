"""The report as one HTML page, as Markdown for a pull request, and as JUnit XML for a CI server.

The HTML has no script, needs no network and nothing beside it; what it looks like is in templates/.
"""

from __future__ import annotations

from dataclasses import dataclass

from spa.reports import facts, latency, moved, wording
from spa.reports.junit import Case, Outcome, suite
from spa.reports.schema import GroupFacts, Report
from spa.reports.template import render

# What keeps a model from being pruned at all; 5 means it was pruned and then found wanting.
NOT_PRUNED = {1, 2, 3, 7, 130}
MOST_MEMBERS = 12


@dataclass(frozen=True)
class Bar:
    """One line: `full` is drawn faint and `part` of it strong, both against the longest bar."""

    name: str
    full: float
    part: float
    value: str
    change: str
    tone: str = "kept"
    title: str = ""


def to_html(report: Report) -> str:
    """Write the whole page."""
    groups = [_group(group) for group in report.get("groups") or () if group["channels_before"]]
    values = {"groups": groups, "latencies": _latencies(report), "budget": latency.sentences}
    return render("report.html", report=report, facts=facts, moved=moved, **values)


def _group(group: GroupFacts) -> Bar:
    before, after = group["channels_before"], group["channels_after"]
    name = group["name"]
    if group["frozen"]:
        title = f"{name}: frozen, {group['reason']}"
        return Bar(name, before, after, f"{before:,}", "frozen", "frozen", title)
    value = f"{before:,} → {after:,}" if after < before else f"{before:,}"
    members = [member["tensor"] for member in group["members"]]
    more = len(members) - MOST_MEMBERS
    words = [name, *members[:MOST_MEMBERS], *([f"{more} more"] if more > 0 else [])]
    return Bar(name, before, after, value, loss(group), title="; ".join(words))


def loss(group: GroupFacts) -> str:
    """How many channels of a group are gone, as a change."""
    before = group["channels_before"]
    return wording.change(1 - group["channels_after"] / before if before else None)


def _latencies(report: Report) -> list[Bar]:
    found = report.get("latency")
    if not found or not found.get("before_ms") or not found.get("after_ms"):
        return []
    before, after = found["before_ms"] or 0.0, found["after_ms"] or 0.0
    change = wording.factor(found["speedup"], found.get("low"), found.get("high"))
    return [
        Bar("original", before, before, wording.milliseconds(before), "", "frozen"),
        Bar("pruned", after, after, wording.milliseconds(after), change),
    ]


def to_markdown(report: Report) -> str:
    """Write the report as GitHub-flavoured Markdown."""
    values = {"budget": latency.sentences, "loss": loss}
    return render("report.md", report=report, facts=facts, moved=moved, **values)


def to_junit(report: Report) -> str:
    """Write the cases pruned, verify and one per gate."""
    cases = [_pruned(report), _verify(report), *_gates(report)]
    if report["exit_code"] and all(case.outcome in ("passed", "skipped") for case in cases):
        # Whatever the sections say, a run that failed must not look green.
        cases[0] = Case(cases[0].name, "error", report.get("error") or "", cases[0].seconds)
    name = facts.model_name(report)
    title = f"spa {report['command']} {name}"
    return suite(title, f"spa.{name}", cases, facts.total_seconds(report))


def _pruned(report: Report) -> Case:
    code = report["exit_code"]
    name = "pruned" if report["command"] in ("prune", "apply") else report["command"]
    spent = sum(took for stage, took in facts.timings(report) if stage != "verify")
    outcome: Outcome = "error" if code in NOT_PRUNED else "failure" if code == 4 else "passed"
    return Case(name, outcome, report.get("error") or "", spent)


def _verify(report: Report) -> Case:
    verify = report.get("verify")
    outcome: Outcome = "skipped"
    if verify and verify["level"] != "none":
        outcome = "passed" if verify["passed"] else "failure"
    return Case("verify", outcome, facts.verdict(report), _spent(report, "verify"))


def _gates(report: Report) -> list[Case]:
    cases = [Case(gate.name, _passed(gate.passed), gate.sentence) for gate in facts.gates(report)]
    check = facts.check(report)
    if check:
        said = Case("check", _passed(check.passed), check.error, _spent(report, "check"))
        cases.append(said)
    return cases


def _passed(good: bool) -> Outcome:
    return "passed" if good else "failure"


def _spent(report: Report, stage: str) -> float:
    return (report.get("timings") or {}).get(stage) or 0.0
