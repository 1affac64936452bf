"""Errors as the shell sees them: an exit code, a status and one sentence."""

from __future__ import annotations

import traceback

import click

from spa.errors import SpaError
from spa.reports import failure
from spa.reports.failure import Failure
from spa.reports.wording import printable


def classify(error: BaseException) -> Failure:
    """Say which exit code an exception means and how to put it, those of click included."""
    if isinstance(error, click.UsageError):
        return Failure(2, _usage(error))
    if isinstance(error, click.ClickException):
        return Failure(error.exit_code, printable(error.format_message()))
    return failure.classify(KeyboardInterrupt() if isinstance(error, click.Abort) else error)


def _usage(error: click.UsageError) -> str:
    message = printable(error.format_message()).replace(". (", " (")
    command = error.ctx.command_path if error.ctx else "spa"
    return f"{message.rstrip('.')}; see {command} --help"


def complain(error: BaseException, *, verbose: bool) -> int:
    """Print the sentence, and for a bug the traceback if asked for; return the exit code."""
    found = classify(error)
    internal = found.exit_code == 1 and not isinstance(error, SpaError)
    if internal and verbose:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    advice = "; rerun with -v for the traceback and report it" if internal and not verbose else ""
    say(found.message + advice)
    return found.exit_code


def say(message: str) -> None:
    """Print one error sentence where errors belong."""
    click.echo(f"spa: error: {printable(message)}", err=True)
