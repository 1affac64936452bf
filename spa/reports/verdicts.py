"""The two verdicts as data and in words: is the file what the plan says, and what outputs say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from spa.allowed import Level
from spa.reports.wording import NOTHING, Cell, printable

Which = Literal["rewrite", "quality"]
Exactness = Literal["exact", "partial", "failed", "not checked"]
GRADES: tuple[Level, ...] = ("broken", "risky", "good")
"""What a gate on quality counts, from 0 on."""
TONES: Mapping[str, str] = {
    "exact": "good",
    "good": "good",
    "partial": "warning",
    "risky": "warning",
    "failed": "bad",
    "broken": "bad",
}


class RewriteFacts(TypedDict):
    """Whether the file is what the plan says, and why that is known."""

    verdict: Exactness
    why: str


class QualityFacts(TypedDict):
    """What the outputs say, on inputs that nothing was fitted on.

    `output` is the one that decided, `outputs` has the verdict of each.  `top1_lost` is the share
    of right answers that a classifier loses if its original's probabilities are right, with the
    standard error `top1_lost_error`; None where no output holds classes.
    """

    verdict: Level
    why: str
    output: str | None
    outputs: dict[str, Level]
    top1_lost: float | None
    top1_lost_error: float | None


class Verdicts(TypedDict):
    """Two verdicts, and the command to type next where there is something to better."""

    rewrite: RewriteFacts
    quality: QualityFacts
    next: str | None


UNCHECKED = RewriteFacts(verdict="not checked", why="no check was asked for (verify=none)")


def unjudged(why: str) -> QualityFacts:
    """Of outputs that nobody has looked at."""
    return QualityFacts(
        verdict="unknown", why=why, output=None, outputs={}, top1_lost=None, top1_lost_error=None
    )


INPUTS = {
    "calib": "rows of --calib",
    "leaves": "rows of dead leaves",
    "uniform": "rows of uniform noise",
    "gaussian": "rows of Gaussian noise",
    "tokens": "token sequences",
    "audio": "signals",
    "vectors": "vectors",
    "random": "random inputs",
}

LABELS: Mapping[Which, str] = {"rewrite": "Rewrite", "quality": "Quality"}


def word(report: Mapping[str, Any], which: Which) -> Cell | None:
    """One of the two verdicts in a word; None where nobody got so far."""
    found = report.get("verdicts")
    return None if not found else cell(found[which]["verdict"])


def cell(verdict: str | None) -> Cell:
    """A verdict in its tone."""
    return Cell(verdict or NOTHING, TONES.get(verdict or "", "dim"))


def sentence(report: Mapping[str, Any], which: Which) -> str:
    """One of the two verdicts with its reason, "" where nobody got so far."""
    found = report.get("verdicts")
    if not found:
        return ""
    on = measured_on(report) if which == "quality" else ""
    words = f"{found[which]['verdict']}: {printable(found[which]['why'])}"
    return f"{words}, on {on}" if on else words


def next_command(report: Mapping[str, Any]) -> str:
    """The command to type next, "" where there is none."""
    found = report.get("verdicts")
    return printable(found["next"] or "") if found else ""


def measured_on(report: Mapping[str, Any]) -> str:
    """Say what the drift was measured on, "" where nobody knows."""
    verify: Mapping[str, Any] = report.get("verify") or {}
    kind, rows = verify.get("inputs"), verify.get("rows")
    return "" if not kind or rows is None else rows_of(kind, rows, bool(verify.get("held_back")))


def rows_of(kind: str, rows: int, held_back: bool) -> str:
    """Say how many rows of which kind, and whether anything was fitted on them."""
    words = f"{rows:,} {INPUTS.get(kind, kind)}"
    return words if held_back else f"{words} that were fitted on"
