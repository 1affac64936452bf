"""What is left of an exception: an exit code, a status, one sentence, and a report that says so."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import cast

from spa.errors import SpaError, first_line
from spa.reports.schema import Report, Status, empty_report, unreadable
from spa.reports.wording import printable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""What a system says where nothing more can be written."""


@dataclass(frozen=True)
class Failure:
    """What a person reads of an exception."""

    exit_code: int
    message: str
    status: Status = "failed"


def classify(error: BaseException) -> Failure:
    """Say which exit code an exception means and how to put it."""
    if isinstance(error, SpaError):
        return Failure(error.exit_code, printable(error) or type(error).__name__)
    if isinstance(error, KeyboardInterrupt):
        return Failure(130, printable(error) or "interrupted", "interrupted")
    if isinstance(error, MemoryError):
        advice = "free some (in a zoo with fewer --jobs), or try a machine that has more"
        return Failure(7, f"out of memory; {advice}")
    if isinstance(error, OSError) and is_full(error):
        place = f" {error.filename}" if error.filename else ""
        why = f"cannot write{place} ({error.strerror})"
        return Failure(2, printable(f"{why}; make room there, or choose another place"))
    words = f": {printable(first_line(error))}" if str(error).strip() else ""
    return Failure(1, f"internal error: {type(error).__name__}{words}")


def is_full(error: BaseException | None) -> bool:
    """Whether nothing more can be written, as the error or one that it comes from says."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return error is not None and is_full(error.__cause__)


def buried(error: BaseException, failure: Failure, command: str, source: str | None) -> Report:
    """The report of a run that failed, as far as it got."""
    report = cast(Report, dict(getattr(error, "report", None) or empty_report(command)))
    report["exit_code"], report["error"] = failure.exit_code, failure.message
    report["status"] = failure.status
    if report["input"] is None and source is not None:
        report["input"] = unreadable(source)
    return report
