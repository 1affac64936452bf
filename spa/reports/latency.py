"""A budget of time in words: what was asked, predicted and measured, and what holds the rest."""

from __future__ import annotations

from spa.reports import wording
from spa.reports.schema import LatencyBudget, Report

MOST = 5
RUN = "the run itself"


def sentences(report: Report) -> list[str]:
    """A few lines; none where time was no budget."""
    told = report.get("latency_budget")
    return [_shares(told), _points(told), _holders(told)] if told else []


def _shares(told: LatencyBudget) -> str:
    threads = wording.plural(told["threads"], "thread") if told["threads"] else "default threads"
    return (
        f"{wording.percent(told['measured'])} of the time gone, asked for "
        f"{wording.percent(told['asked'])} (to within {wording.percent(told['tolerance'])}), "
        f"predicted {wording.percent(told['predicted'])}; {told['provider']}, {threads}"
    )


def _points(told: LatencyBudget) -> str:
    points = told["points"]
    words = f"{points['measured']:,} timings taken in {wording.seconds(told['seconds'])}"
    words += f", {points['cached']:,} known from earlier runs"
    guessed = points["estimated"]
    return f"{words}, {guessed:,} estimated" if guessed else words


def _holders(told: LatencyBudget) -> str:
    """Where the time of the original goes."""
    named = []
    for holder in told["holders"][:MOST]:
        name = RUN if holder["op"] == "run" else wording.printable(holder["op"])
        fixed = "" if holder["shrinks"] else " (fixed)"
        named.append(f"{name} {wording.percent(holder['share'])}{fixed}")
    return f"time before: {', '.join(named)}"
