"""The report as one JUnit test suite, so that a CI server shows spa's gates as tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from spa.reports import facts, wording
from spa.reports.schema import Report

Outcome = Literal["passed", "failure", "error", "skipped"]
# What keeps a model from being pruned at all; 5 means it was pruned and then found wanting.
NOT_PRUNED = {1, 2, 3, 7, 130}


@dataclass(frozen=True)
class Case:
    """One test as the CI server shows it."""

    name: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0


def to_junit(report: Report) -> str:
    """Write the cases pruned, verify and one per gate."""
    cases = _cases(report)
    name = facts.model_name(report)
    suite = ElementTree.Element(
        "testsuite",
        name=f"spa {report['command']} {name}",
        tests=str(len(cases)),
        failures=_number(cases, "failure"),
        errors=_number(cases, "error"),
        skipped=_number(cases, "skipped"),
        time=f"{facts.total_seconds(report):.3f}",
    )
    for case in cases:
        suite.append(_element(case, name))
    ElementTree.indent(suite)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _cases(report: Report) -> list[Case]:
    cases = [_pruned(report), _verify(report), *_gates(report)]
    if report["exit_code"] and all(case.outcome in ("passed", "skipped") for case in cases):
        # Whatever the sections say, a run that failed must not look green.
        blame = Case(cases[0].name, "error", _error(report), cases[0].seconds)
        cases = [blame, *cases[1:]]
    return cases


def _pruned(report: Report) -> Case:
    code = report["exit_code"]
    name = "pruned" if report["command"] in ("prune", "apply") else report["command"]
    spent = sum(took for stage, took in facts.timings(report) if stage != "verify")
    if code in NOT_PRUNED:
        return Case(name, "error", _error(report), spent)
    return Case(name, "failure" if code == 4 else "passed", _error(report), spent)


def _verify(report: Report) -> Case:
    verify = report.get("verify")
    spent = (report.get("timings") or {}).get("verify") or 0.0
    if not verify or verify["level"] == "none":
        return Case("verify", "skipped", facts.verdict(report), spent)
    return Case("verify", "passed" if verify["passed"] else "failure", facts.verdict(report), spent)


def _gates(report: Report) -> list[Case]:
    cases = [
        Case(gate.name, "passed" if gate.passed else "failure", gate.sentence)
        for gate in facts.gates(report)
    ]
    check = facts.check(report)
    if check:
        spent = (report.get("timings") or {}).get("check") or 0.0
        cases.append(Case("check", "passed" if check.passed else "failure", check.error, spent))
    return cases


def _error(report: Report) -> str:
    return wording.printable(report.get("error") or "")


def _element(case: Case, model: str) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase",
        classname=f"spa.{model}",
        name=wording.printable(case.name),
        time=f"{case.seconds:.3f}",
    )
    if case.outcome != "passed":
        ElementTree.SubElement(element, case.outcome, message=wording.printable(case.message))
    return element


def _number(cases: list[Case], outcome: Outcome) -> str:
    return str(sum(case.outcome == outcome for case in cases))
