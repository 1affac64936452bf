"""The summary of a zoo as data: one row per model, totals, and why some came to nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict, cast, get_args

from spa._version import __version__
from spa.allowed import Level
from spa.reports.schema import Origin

SCHEMA_VERSION = 1

Status = Literal["pruned", "unchanged", "refused", "missed", "limit", "failed", "crashed"]
MEANINGS: dict[Status, str] = {
    "pruned": "smaller, and the file is what the plan says",
    "unchanged": "nothing to prune, or the target is out of reach",
    "refused": "missing, unreadable, invalid or unsupported",
    "missed": "failed verification or a gate",
    "limit": "reached the time or memory limit",
    "failed": "internal error",
    "crashed": "its process was killed or died",
}
SIZES = ("bytes", "params", "macs")


class Row(TypedDict):
    """One model; sizes and figures are None where nothing was measured.

    `transient` says that a rerun tries it again, `rewrite` and `quality` are the two verdicts,
    `drift` is the largest over the outputs, scores are those of the user's own check.
    """

    name: str
    source: str
    status: Status
    exit_code: int
    error: str | None
    transient: bool
    bytes_before: int | None
    bytes_after: int | None
    params_before: int | None
    params_after: int | None
    macs_before: int | None
    macs_after: int | None
    rewrite: str | None
    quality: str | None
    drift: float | None
    top1_agreement: float | None
    score_before: float | None
    score_after: float | None
    before_ms: float | None
    after_ms: float | None
    speedup: float | None
    warnings: list[str]
    output: str | None
    sha256: str | None
    attempts: int
    seconds: float
    peak_rss_bytes: int | None


class Reason(TypedDict):
    """Why models came to nothing: one sentence with what differs left out, and who they are."""

    status: Status
    exit_code: int
    reason: str
    models: list[str]


class Zoo(Origin):
    """What the summary files hold.

    `totals` counts each status, `quality` what the outputs of pruned models say; sizes in `sums`
    are those of pruned models, before and after.  `pending` are the models that a run which ended
    early did not come to.
    """

    schema_version: int
    spa_version: str
    command: str
    status: Literal["ok", "failed", "interrupted"]
    exit_code: int
    error: str | None
    dest: str
    shard: str | None
    engine: str
    accepted: list[str]
    totals: dict[str, int]
    quality: dict[str, int]
    sums: dict[str, int]
    reasons: list[Reason]
    models: list[Row]
    pending: list[str]
    reused: int
    wall_seconds: float
    model_seconds: float
    peak_rss_bytes: int | None


def summarize(
    rows: Iterable[Row], pending: Sequence[str], accepted: Sequence[str], **facts: Any
) -> Zoo:
    """Add up what came of a zoo.

    Args:
        rows: one per model that is done.
        pending: names of those that are not.
        accepted: what, besides "pruned", is no failure.
        facts: dest, shard, engine, reused, wall_seconds, interrupted.
    """
    models = sorted(rows, key=lambda row: row["name"])
    totals = {status: sum(row["status"] == status for row in models) for status in MEANINGS}
    interrupted = facts.pop("interrupted")
    code, error = _verdict(models, pending, accepted, interrupted)
    made: dict[str, Any] = dict(
        schema_version=SCHEMA_VERSION,
        spa_version=__version__,
        command="zoo",
        status="interrupted" if interrupted else "failed" if code else "ok",
        exit_code=code,
        error=error,
        accepted=sorted(accepted),
        totals={"models": len(models) + len(pending), **totals, "pending": len(pending)},
        quality=_counts(row["quality"] for row in models if row["status"] == "pruned"),
        sums=_sums(models),
        reasons=reasons(models),
        models=models,
        pending=sorted(pending),
        model_seconds=round(sum(row["seconds"] for row in models), 3),
        peak_rss_bytes=max((row["peak_rss_bytes"] or 0 for row in models), default=None),
        **facts,
    )
    return cast(Zoo, made)


def is_failure(row: Row, accepted: Sequence[str]) -> bool:
    """Whether a model makes the whole zoo fail."""
    return row["status"] not in ("pruned", *accepted)


def _verdict(
    models: Sequence[Row], pending: Sequence[str], accepted: Sequence[str], interrupted: bool
) -> tuple[int, str | None]:
    if interrupted:
        return 130, "interrupted; run the same command again to go on"
    bad = [row for row in models if is_failure(row, accepted)]
    if not bad:
        return 0, None
    words = f"{len(bad)} of {len(models) + len(pending)} models failed (such as {bad[0]['name']})"
    left = f", and {len(pending)} were not tried" if pending else ""
    return 6, f"{words}{left}; the summary says why"


def _counts(levels: Iterable[str | None]) -> dict[str, int]:
    """How many models are of each quality, the best first; what nobody looked at is unknown."""
    found = Counter(level or "unknown" for level in levels)
    return {level: found[level] for level in get_args(Level)}


def _sums(models: Sequence[Row]) -> dict[str, int]:
    pruned: list[dict[str, Any]] = [dict(row) for row in models if row["status"] == "pruned"]
    return {
        f"{size}_{when}": sum(row[f"{size}_{when}"] or 0 for row in pruned)
        for size in SIZES
        for when in ("before", "after")
    }


def reasons(models: Iterable[Row]) -> list[Reason]:
    """Why models were not pruned, those shared by most first; in full where all said the same."""
    found: dict[tuple[int, str], Reason] = {}
    for row in models:
        if row["status"] == "pruned":
            continue
        said = row["error"] or MEANINGS[row["status"]]
        words = generic(said, row)
        first = Reason(status=row["status"], exit_code=row["exit_code"], reason=said, models=[])
        reason = found.setdefault((row["exit_code"], words), first)
        reason["models"].append(row["name"])
        if reason["reason"] != said:
            reason["reason"] = words
    return sorted(found.values(), key=lambda each: (-len(each["models"]), each["reason"]))


def generic(sentence: str, row: Row) -> str:
    """A sentence without names, paths and numbers, so that equal troubles read the same."""
    for own in (row["source"], row["name"], row["name"].rpartition("/")[2]):
        sentence = sentence.replace(own, "…")
    quoted = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", sentence)
    inner = re.sub(r"\([^()]*\)", "(…)", quoted)
    return re.sub(r"\d[\d.,]*(?<![.,])", "#", inner)
