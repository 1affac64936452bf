"""One row of the summary per model: what a report says in a few numbers, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from spa.reports import moved, verdicts
from spa.reports.zoo import Row, Status
from spa.zoo.child import Ending, signal_name
from spa.zoo.model import Job, Layout

STATUS: Mapping[int, Status] = {
    0: "pruned",
    2: "refused",
    3: "refused",
    4: "unchanged",
    5: "missed",
    7: "limit",
}
TRANSIENT = ("failed", "limit", "crashed")
"""What another machine, day or limit may do better, so that a rerun tries it again."""


def row_of(job: Job, report: Mapping[str, Any], ended: Ending, attempts: int) -> Row:
    """The row of a model whose process left a report."""
    status = STATUS.get(ended.code, "failed")
    before, after = report.get("input") or {}, report.get("output") or {}
    pruned = status == "pruned"
    row = failed(job, ended.code, report.get("error"), status=status)
    for name in ("bytes", "params", "macs"):
        row[f"{name}_before"] = before.get(name)  # type: ignore[literal-required]
        row[f"{name}_after"] = after.get(name) if pruned else None  # type: ignore[literal-required]
    verify, latency = report.get("verify") or {}, report.get("latency") or {}
    row["rewrite"], row["quality"] = (verdicts.word(report, which) for which in verdicts.LABELS)
    row["drift"] = moved.largest_drift(verify)
    row["top1_agreement"] = verify.get("top1_agreement")
    check = report.get("check") or {}
    row["score_before"], row["score_after"] = check.get("before"), check.get("after")
    row["before_ms"], row["after_ms"] = latency.get("before_ms"), latency.get("after_ms")
    row["speedup"] = latency.get("speedup")
    row["warnings"] = list(report.get("warnings") or ())
    row["sha256"] = after.get("sha256") if pruned else None
    row["output"] = job.name if pruned else None
    row["attempts"], row["seconds"] = attempts, round(ended.seconds, 3)
    row["peak_rss_bytes"] = max(ended.peak, report.get("peak_rss_bytes") or 0)
    return row


def broken(job: Job, ended: Ending, attempts: int, log: str) -> Row:
    """The row of a model whose process was ended, by us or by something else."""
    code, status, words = _blame(job, ended, log)
    row = failed(job, code, words, status=status)
    row["attempts"], row["seconds"] = attempts, round(ended.seconds, 3)
    row["peak_rss_bytes"] = ended.peak
    return row


def _blame(job: Job, ended: Ending, log: str) -> tuple[int, Status, str]:
    if ended.why == "timeout":
        words = f"the time limit of {job.timeout:g} s was reached; give more with --timeout"
        return 7, "limit", words
    if ended.why == "memory":
        limit = (job.memory or 0) / (1 << 30)
        words = f"the memory limit of {limit:.3g} GiB was reached; give more with --memory"
        return 7, "limit", words
    if ended.code < 0:
        name = signal_name(ended.code)
        why = ", as a system does when memory runs out" if name == "SIGKILL" else ""
        where = f"its last words are in {Layout(Path()).log(job.name).as_posix()}"
        advice = where if log.strip() else "try it with spa prune"
        return 1, "crashed", f"its process was ended by {name}{why}; {advice}"
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    words = f"its process ended with code {ended.code} and no report"
    return 1, "crashed", f"{words} ({last[:200]})" if last else f"{words}; try it with spa prune"


def failed(
    job: Job,
    exit_code: int,
    error: str | None,
    *,
    status: Status | None = None,
    transient: bool = False,
) -> Row:
    """A row with nothing measured."""
    status = status or STATUS.get(exit_code, "failed")
    known: dict[str, object] = {"name": job.name, "source": job.source, "status": status}
    known |= {"exit_code": exit_code, "error": error, "warnings": []}
    known |= {"transient": transient or status in TRANSIENT, "attempts": 1, "seconds": 0.0}
    return cast(Row, dict.fromkeys(Row.__annotations__) | known)
