"""A sweep as data: one row per ratio that was tried, the original first, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, cast

from spa._version import __version__
from spa.reports import moved, run, verdicts, wording
from spa.reports.schema import CheckFacts, InputFacts, Origin, Report

SCHEMA_VERSION = 1
Status = Literal["original", "passed", "missed", "unreachable"]
SIZES = ("params", "macs", "channels", "bytes")


class Row(TypedDict):
    """One ratio; what was not measured is None.

    `missed` failed verification or a gate, `unreachable` could not lose that much.  `reduction` is
    the share of `of` that is really gone, `rewrite` and `quality` are the two verdicts, `drift` is
    the largest over the outputs.
    """

    ratio: float
    status: Status
    error: str | None
    reduction: float | None
    params: int | None
    macs: int | None
    channels: int | None
    bytes: int | None
    rewrite: str | None
    quality: str | None
    drift: float | None
    top1_agreement: float | None
    score: float | None
    drop: float | None
    latency_ms: float | None
    speedup: float | None
    seconds: float
    warnings: list[str]


class Written(TypedDict):
    """The file of the best model."""

    path: str
    sha256: str
    bytes: int


class Sweep(Origin):
    """What `--json` shows; `best` is the ratio of the smallest model that passes what was asked.

    So is the ratio of `recipe`, with which `spa prune` makes that model.  Where no model was
    written, `next` is the command for the smallest one whose quality is good.
    """

    schema_version: int
    spa_version: str
    command: str
    status: Literal["ok", "failed"]
    exit_code: int
    error: str | None
    mode: Literal["list", "search"]
    of: str
    scorer: str
    gates: dict[str, float]
    check: CheckFacts | None
    input: InputFacts
    rows: list[Row]
    best: float | None
    next: str | None
    output: Written | None
    warnings: list[str]
    notes: list[str]
    timings: dict[str, float]
    peak_rss_bytes: int | None
    versions: dict[str, str]


COLUMNS = tuple(name for name in Row.__annotations__ if name != "warnings")


def summarize(report: Report, rows: list[Row], **known: Any) -> Sweep:
    """Put a sweep together.

    Args:
        report: that of the work all ratios share.
        rows: one per ratio, in any order.
        known: mode, of, scorer, gates, best, next, and error with exit_code where it failed.
    """
    code: int = known.setdefault("exit_code", 0)
    recipe = {**report.get("recipe", {}), "ratio": known["best"]}
    made: dict[str, Any] = dict(
        schema_version=SCHEMA_VERSION,
        spa_version=__version__,
        command="sweep",
        status="failed" if code else "ok",
        error=known.pop("error", None),
        check=report.get("check"),
        input=report["input"],
        recipe=recipe,
        rows=[original(report, rows), *sorted(rows, key=lambda row: row["ratio"])],
        output=None,
        warnings=report["warnings"],
        notes=report.get("notes", []),
        timings=report["timings"],
        peak_rss_bytes=report["peak_rss_bytes"],
        versions=report["versions"],
        **known,
    )
    return cast(Sweep, made)


def original(report: Report, rows: list[Row]) -> Row:
    """The model itself as a row; its latency is the median of what was measured beside others."""
    sizes = run.model(report, "input")
    times = sorted(
        row["latency_ms"] * row["speedup"] for row in rows if row["latency_ms"] and row["speedup"]
    )
    check = report.get("check")
    row = empty(0.0, "original", None, 0.0)
    row |= {name: sizes.get(name) for name in SIZES}  # type: ignore[typeddict-item]
    row["reduction"], row["drift"] = 0.0, 0.0
    row["score"] = check["before"] if check else None
    row["drop"] = 0.0 if row["score"] is not None else None
    row["latency_ms"] = times[len(times) // 2] if times else None
    row["speedup"] = 1.0 if times else None
    return row


def row_of(
    ratio: float, of: str, report: Mapping[str, Any], status: Status, error: str | None
) -> Row:
    """The row of a ratio, from the report of the run that tried it."""
    row = empty(ratio, status, error, 0.0)
    output, latency = report["output"] or {}, report["latency"] or {}
    verify, check = report["verify"] or {}, report.get("check") or {}
    row |= {name: output.get(name) for name in SIZES}  # type: ignore[typeddict-item]
    row["reduction"] = (report["reduction"] or {}).get(of)
    row["rewrite"], row["quality"] = (verdicts.word(report, which) for which in verdicts.LABELS)
    row["drift"] = moved.largest_drift(verify)
    row["top1_agreement"] = verify.get("top1_agreement")
    row["score"], row["drop"] = check.get("after"), check.get("drop")
    row["latency_ms"], row["speedup"] = latency.get("after_ms"), latency.get("speedup")
    row["warnings"] = list(report["warnings"])
    return row


def empty(ratio: float, status: Status, error: str | None, seconds: float) -> Row:
    """A row of which nothing is measured."""
    known: dict[str, object] = {
        "ratio": ratio,
        "status": status,
        "error": error,
        "seconds": seconds,
        "warnings": [],
    }
    return cast(Row, dict.fromkeys(Row.__annotations__) | known)


def to_csv(sweep: Sweep) -> str:
    """One line per ratio, the original first, with figures as they are."""
    rows = [[row[name] for name in COLUMNS] for row in sweep["rows"]]  # type: ignore[literal-required]
    return wording.to_csv(COLUMNS, rows)
