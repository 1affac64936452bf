"""A sweep as data: one row per budget that was tried, the original first, and the best of them."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, cast

from spa._version import __version__
from spa.reports import wording
from spa.reports.schema import CheckFacts, InputFacts, Origin, Report
from spa.reports.trials import SIZES, By, Row, empty, frontier, original, row_of

SCHEMA_VERSION = 1


class Written(TypedDict):
    """The file of the best model."""

    path: str
    sha256: str
    bytes: int


class Sweep(Origin):
    """What `--json` shows; `best` is what was asked of the smallest model that passes.

    It is a ratio or a speed-up, as `by` says, and so is that of `recipe`, with which `spa prune`
    makes that model.  Where no model was written, `next` is the command for the smallest one whose
    quality is good.
    """

    schema_version: int
    spa_version: str
    command: str
    status: Literal["ok", "failed"]
    exit_code: int
    error: str | None
    mode: Literal["list", "search"]
    by: By
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
        report: that of the work that all rows share.
        rows: one per budget, in any order.
        known: mode, by, of, scorer, gates, best, next, and error with exit_code where it failed.
    """
    code: int = known.setdefault("exit_code", 0)
    recipe = {**report.get("recipe", {}), "ratio": None, known["by"]: known["best"]}
    made: dict[str, Any] = dict(
        schema_version=SCHEMA_VERSION,
        spa_version=__version__,
        command="sweep",
        status="failed" if code else "ok",
        error=known.pop("error", None),
        check=report.get("check"),
        input=report["input"],
        recipe=recipe,
        rows=[original(report, rows), *frontier(rows)],
        output=None,
        warnings=report["warnings"],
        notes=report.get("notes", []),
        timings=report["timings"],
        peak_rss_bytes=report["peak_rss_bytes"],
        versions=report["versions"],
        **known,
    )
    return cast(Sweep, made)


def to_csv(sweep: Sweep) -> str:
    """One line per budget, the original first, with figures as they are."""
    rows = [[row[name] for name in COLUMNS] for row in sweep["rows"]]  # type: ignore[literal-required]
    return wording.to_csv(COLUMNS, rows)


__all__ = ["COLUMNS", "SIZES", "Row", "Sweep", "Written", "empty", "row_of", "summarize", "to_csv"]
