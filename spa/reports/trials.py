"""What was tried of one model: a row per budget, and the frontier that these make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, cast

from spa.reports import verdicts

By = Literal["ratio", "speedup"]
"""What tells one budget from another."""
Status = Literal["original", "passed", "missed", "unreachable"]
SIZES = ("params", "macs", "channels", "bytes")
RANKS = {"passed": 0, "missed": 1, "unreachable": 2}
FIGURES = (("score", -1), ("drift", 1), ("agreement", -1))
"""What tells which of two models is worse, the first that is known of both; 1 where more is."""


class Row(TypedDict):
    """One budget; what was not measured is None.

    `asked_speedup` is how many times as fast the model was to be, where that was asked for, and
    `ratio` then the share of the time.  `missed` failed verification or a gate, `unreachable` could
    not lose that much.  Where a larger cut has kept more than the one that was made for this budget
    the row is about that, and `instead` is what was asked of it.  `reduction` is
    the share of `of` that is really gone, `rewrite` and `quality` are the two verdicts, `drift` is
    the largest over the outputs and `agreement` the least, of classes and other labels; `speedup`
    is measured in one run with the original, and lies from `speedup_low` to `speedup_high` at 95 %.
    """

    ratio: float
    asked_speedup: float | None
    instead: float | None
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
    agreement: float | None
    score: float | None
    drop: float | None
    latency_ms: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    seconds: float
    warnings: list[str]


def asked(row: Row) -> float:
    """What was asked for: a speed-up, or a ratio."""
    return row["asked_speedup"] or row["ratio"]


class SearchFacts(TypedDict):
    """What was tried for the largest cut that passes these `gates`, the original first.

    `best` is what was asked of it, a ratio or a speed-up as `by` says; None: nothing passes.
    """

    by: By
    best: float | None
    gates: dict[str, float]
    rows: list[Row]


def frontier(rows: Iterable[Row]) -> list[Row]:
    """The rows, the mildest first, none of which is worse than that of a larger cut.

    What removes more meets the milder budget, too: where it keeps more as well, it takes the place.
    """
    found: list[Row] = []
    best: Row | None = None
    for row in sorted(rows, key=lambda row: row["ratio"], reverse=True):
        if best is not None and _worse(row, best):
            own = ("ratio", "asked_speedup", "seconds")
            taken = {**best, **{name: row[name] for name in own}}  # type: ignore[literal-required]
            found.append(cast(Row, {**taken, "instead": asked(best)}))
        else:
            best = row
            found.append(row)
    return found[::-1]


def _worse(row: Row, than: Row) -> bool:
    """Whether one passes less, or keeps less by the first figure that is known of both."""
    ranks = RANKS[row["status"]], RANKS[than["status"]]
    if ranks[0] != ranks[1]:
        return ranks[0] > ranks[1]
    for name, sign in FIGURES:
        mine, other = row[name], than[name]  # type: ignore[literal-required]
        if mine is not None and other is not None:
            return bool(sign * mine > sign * other)
    return False


def row_of(
    ratio: float, of: str, report: Mapping[str, Any], status: Status, error: str | None
) -> Row:
    """The row of a budget, from the report of the run that tried it."""
    row = empty(ratio, status, error, 0.0)
    output, latency = report["output"] or {}, report["latency"] or {}
    verify, check = report["verify"] or {}, report.get("check") or {}
    row |= {name: output.get(name) for name in SIZES}  # type: ignore[typeddict-item]
    row["reduction"] = (report["reduction"] or {}).get(of)
    row["rewrite"], row["quality"] = (verdicts.word(report, which) for which in verdicts.LABELS)
    drifts = [each for each in (verify.get("drift") or {}).values() if each is not None]
    row["drift"] = max(drifts, default=None)
    row["top1_agreement"] = verify.get("top1_agreement")
    labels = (row["top1_agreement"], *(verify.get("agreement") or {}).values())
    row["agreement"] = min((each for each in labels if each is not None), default=None)
    row["score"], row["drop"] = check.get("after"), check.get("drop")
    row["latency_ms"], row["speedup"] = latency.get("after_ms"), latency.get("speedup")
    row["speedup_low"], row["speedup_high"] = latency.get("low"), latency.get("high")
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


def original(report: Mapping[str, Any], rows: Iterable[Row]) -> Row:
    """The model itself as a row; its latency is the median of what was measured beside others."""
    sizes = report.get("input") or {}
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
