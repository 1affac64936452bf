"""Reports: one dict in, one face of it out; adding a format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spa.errors import UsageError
from spa.reports.json import to_json
from spa.reports.pages import to_html, to_junit, to_markdown
from spa.reports.schema import Report, empty_report
from spa.storage import check_place, replaced

__all__ = [
    "FORMATS",
    "Report",
    "check_paths",
    "empty_report",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "write",
]

FORMATS: dict[str, Callable[[Report], str]] = {
    ".json": to_json,
    ".md": to_markdown,
    ".html": to_html,
    ".xml": to_junit,
}


def write(report: Report, *paths: str | Path) -> tuple[Path, ...]:
    """Write the report to every path in the format its suffix names, each file at once or not."""
    targets = check_paths(*paths)
    for target in targets:
        contents = FORMATS[target.suffix.lower()](report).encode("utf-8", "replace")
        replaced(target, contents, "the report", "name another")
    return targets


def check_paths(*paths: str | Path) -> tuple[Path, ...]:
    """Refuse, before any work is done, what could not be written after it."""
    targets = tuple(Path(path) for path in paths)
    for target in targets:
        if target.suffix.lower() not in FORMATS:
            raise UsageError(
                f"no report has the suffix {target.suffix or '(none)'} of {target}; "
                f"use {', '.join(FORMATS)}"
            )
        check_place(target, "the report", force=True)
    return targets
