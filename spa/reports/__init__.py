"""Reports: one dict in, one face of it out; adding a format is one file and one line here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spa.errors import UsageError
from spa.reports.html import to_html
from spa.reports.json import to_json
from spa.reports.junit import to_junit
from spa.reports.markdown import to_markdown
from spa.reports.schema import Report, empty_report, validate

__all__ = [
    "FORMATS",
    "Report",
    "check_paths",
    "empty_report",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "validate",
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
        _replace(target, FORMATS[target.suffix.lower()](report))
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
        if not target.absolute().parent.is_dir():
            raise UsageError(
                f"the folder of the report {target} does not exist; create it or name another"
            )
        if target.is_dir():
            raise UsageError(f"the report {target} is a folder; name a file")
    return targets


def _replace(target: Path, text: str) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"cannot write the report {target}: {why}; name another") from error
    finally:
        beside.unlink(missing_ok=True)
