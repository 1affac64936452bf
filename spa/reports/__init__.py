"""Reports: one dict in, one face of it out; a function below `@face(SUFFIX)` adds a format."""

from __future__ import annotations

from pathlib import Path

from spa.errors import UsageError
from spa.registry import REPORTS
from spa.reports.json import to_json
from spa.reports.pages import to_html, to_junit, to_markdown
from spa.reports.schema import Report, empty_report
from spa.storage import check_place, replaced

__all__ = [
    "Report",
    "check_paths",
    "empty_report",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "write",
]


def write(report: Report, *paths: str | Path) -> tuple[Path, ...]:
    """Write the report to every path in the format its suffix names, each file at once or not."""
    targets = check_paths(*paths)
    for target in targets:
        contents = REPORTS.get(_format(target))(report).encode("utf-8", "replace")
        replaced(target, contents, "the report", "name another")
    return targets


def check_paths(*paths: str | Path) -> tuple[Path, ...]:
    """Refuse, before any work is done, what could not be written after it."""
    targets = tuple(Path(path) for path in paths)
    for target in targets:
        if _format(target) not in REPORTS:
            raise UsageError(
                f"no report has the suffix {target.suffix or '(none)'} of {target}; "
                f"use .{', .'.join(REPORTS.choices())}"
            )
        check_place(target, "the report", force=True)
    return targets


def _format(target: Path) -> str:
    return target.suffix.lower().removeprefix(".")
