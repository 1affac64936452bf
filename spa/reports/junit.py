"""JUnit XML, so that a CI server shows what came of a run as tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spa.reports.template import render

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True)
class Case:
    """One test as the CI server shows it."""

    name: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    type: str | None = None


def suite(title: str, classname: str, cases: Sequence[Case], seconds: float) -> str:
    """Write one test suite."""
    counts = {kind: sum(case.outcome == kind for case in cases) for kind in get_args(Outcome)}
    values = {"title": title, "classname": classname, "counts": counts, "seconds": seconds}
    return render("junit.xml", cases=cases, **values)
