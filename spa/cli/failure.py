"""Errors as the shell sees them: an exit code, a status and one sentence."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass

import click

from spa.errors import SpaError
from spa.reports.schema import Status
from spa.reports.wording import printable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""What a system says where nothing more can be written."""


@dataclass(frozen=True)
class Failure:
    """What is left of an exception once a person is to read it."""

    exit_code: int
    message: str
    status: Status = "failed"


def classify(error: BaseException) -> Failure:
    """Say which exit code an exception means and how to put it."""
    if isinstance(error, SpaError):
        return Failure(error.exit_code, printable(error) or type(error).__name__)
    if isinstance(error, click.UsageError):
        return Failure(2, _usage(error))
    if isinstance(error, click.ClickException):
        return Failure(error.exit_code, printable(error.format_message()))
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure(130, "interrupted", "interrupted")
    if isinstance(error, MemoryError):
        return Failure(7, "out of memory; free some, or try a machine that has more")
    if isinstance(error, OSError) and error.errno in FULL:
        place = f" {error.filename}" if error.filename else ""
        why = f"cannot write{place} ({error.strerror})"
        return Failure(2, printable(f"{why}; make room there, or choose another place"))
    return Failure(1, f"internal error: {_first_words(error)}")


def _usage(error: click.UsageError) -> str:
    message = printable(error.format_message()).replace(". (", " (")
    command = error.ctx.command_path if error.ctx else "spa"
    return f"{message.rstrip('.')}; see {command} --help"


def _first_words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {printable(lines[0])}' if lines else ''}"


def complain(error: BaseException, *, verbose: bool) -> int:
    """Print the sentence, and for a bug the traceback if asked for; return the exit code."""
    failure = classify(error)
    internal = failure.exit_code == 1 and not isinstance(error, SpaError)
    if internal and verbose:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    advice = "; rerun with -v for the traceback and report it" if internal and not verbose else ""
    say(failure.message + advice)
    return failure.exit_code


def say(message: str) -> None:
    """Print one error sentence where errors belong."""
    click.echo(f"spa: error: {printable(message)}", err=True)
