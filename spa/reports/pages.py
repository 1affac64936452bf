"""The report as HTML, Markdown and JUnit XML; what these look like is in templates/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from spa.reports import facts, moved, run, tried, verdicts
from spa.reports.schema import Report, face
from spa.reports.template import render

# What keeps a model from being pruned at all; 5 means it was pruned and then found wanting.
NOT_PRUNED = {1, 2, 3, 7, 130}
Outcome = Literal["passed", "failure", "error", "skipped"]
PARTS: Mapping[str, Any] = {
    "facts": facts,
    "moved": moved,
    "run": run,
    "tried": tried,
    "verdicts": verdicts,
}
OUTCOMES: Mapping[str, Outcome] = {
    "exact": "passed",
    "good": "passed",
    "failed": "failure",
}
"""Of a verdict; the others count as skipped, with the reason: only a gate fails a build."""


@dataclass(frozen=True)
class Case:
    """One test as the CI server shows it."""

    name: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    type: str | None = None


@face("html")
def to_html(report: Report) -> str:
    """One self-contained HTML page: no script, no network, nothing beside it."""
    found = tried.tried(report)
    drawn: Sequence[Any] = ()
    if found is not None:
        from spa.reports.sweep_plot import panels  # which imports what --help does without

        drawn = panels(found)
    return render("report.html", report=report, panels=drawn, **PARTS)


@face("md")
def to_markdown(report: Report) -> str:
    """GitHub-flavoured Markdown for a pull request or a job summary."""
    return render("report.md", report=report, **PARTS)


@face("xml")
def to_junit(report: Report) -> str:
    """JUnit XML for a CI server: the cases pruned, rewrite, quality and one per gate."""
    cases = [_pruned(report), *_verdicts(report), *_gates(report)]
    if report["exit_code"] and all(case.outcome in ("passed", "skipped") for case in cases):
        # Whatever the sections say, a run that failed must not look green.
        cases[0] = Case(cases[0].name, "error", report.get("error") or "", cases[0].seconds)
    name = run.model_name(report)
    title = f"spa {report['command']} {name}"
    return suite(title, f"spa.{name}", cases, run.total_seconds(report))


def _pruned(report: Report) -> Case:
    code = report["exit_code"]
    name = "pruned" if report["command"] in ("prune", "apply") else report["command"]
    spent = sum(took for stage, took in run.timings(report) if stage != "verify")
    outcome: Outcome = "error" if code in NOT_PRUNED else "failure" if code == 4 else "passed"
    return Case(name, outcome, report.get("error") or "", spent)


def _verdicts(report: Report) -> Iterator[Case]:
    for which, seconds in (("rewrite", _spent(report, "verify")), ("quality", 0.0)):
        found = verdicts.word(report, which)  # type: ignore[arg-type]
        outcome = OUTCOMES.get(found or "", "skipped")
        words = verdicts.sentence(report, which) or "not reached"  # type: ignore[arg-type]
        command = verdicts.next_command(report) if outcome != "passed" else ""
        said = f"{words}; next: {command}" if command and which == "quality" else words
        yield Case(which, outcome, said, seconds)


def _gates(report: Report) -> list[Case]:
    cases = [Case(gate.name, _passed(gate.passed), gate.sentence) for gate in facts.gates(report)]
    check = report.get("check")
    if check:
        why = check["error"] or ""
        cases.append(Case("check", _passed(not why), why, _spent(report, "check")))
    return cases


def _passed(good: bool) -> Outcome:
    return "passed" if good else "failure"


def _spent(report: Report, stage: str) -> float:
    return (report.get("timings") or {}).get(stage) or 0.0


def suite(title: str, classname: str, cases: Sequence[Case], seconds: float) -> str:
    """Write one test suite."""
    counts = {kind: sum(case.outcome == kind for case in cases) for kind in get_args(Outcome)}
    values = {"title": title, "classname": classname, "counts": counts, "seconds": seconds}
    return render("junit.xml", cases=cases, **values)
