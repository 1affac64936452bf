"""How far the outputs of a pruned model moved, and on what that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from spa.reports import wording
from spa.reports.schema import Report
from spa.reports.verdicts import cell
from spa.reports.wording import Cell, Table, printable


class Moved(NamedTuple):
    """How far one output moved."""

    name: str
    drift: float | None
    cosine: float | None
    agreement: float | None = None
    unverified: str = ""

    @property
    def said(self) -> str:
        """The drift, or the share of labels that stay, or that nothing is known."""
        if self.unverified:
            return "not verified"
        if self.agreement is not None:
            return f"{wording.percent(self.agreement)} of the labels stay"
        return wording.measure(self.drift)


def outputs(report: Report) -> list[Moved]:
    """Return how far every output moved."""
    verify: Mapping[str, Any] = report.get("verify") or {}
    drift, cosine, agreement, why = (
        verify.get(key) or {} for key in ("drift", "cosine", "agreement", "unverified")
    )
    names = dict.fromkeys([*drift, *cosine, *agreement, *why])
    return [
        Moved(wording.printable(n), drift.get(n), cosine.get(n), agreement.get(n), why.get(n, ""))
        for n in names
    ]


def table(report: Report) -> Table:
    """One row per output, with the verdict on each."""
    judged = report.get("verdicts")
    levels = {printable(n): v for n, v in judged["quality"]["outputs"].items()} if judged else {}
    rows = [
        (Cell(m.name, "code"), cell(levels.get(m.name)), m.said, wording.measure(m.cosine))
        for m in outputs(report)
    ]
    return Table(("Output", "Quality", wording.DRIFT_TITLE, "Cosine"), rows, left=2)


def largest_drift(verify: Mapping[str, Any]) -> float | None:
    """Return the largest drift of any output, None where none is known."""
    known = [each for each in (verify.get("drift") or {}).values() if each is not None]
    return max(known, default=None)


def least_agreement(report: Report) -> float | None:
    """Return the least share of labels that stay in an output, None where none has any."""
    return min((m.agreement for m in outputs(report) if m.agreement is not None), default=None)


def worst_drift(report: Report) -> tuple[str, float] | None:
    """Return the output that moved most, and by how much."""
    known = [(each.name, each.drift) for each in outputs(report) if each.drift is not None]
    # Not a number is worse than any number.
    return max(known, key=lambda item: (math.isnan(item[1]), item[1])) if known else None
