"""One way to run a command: the limit, the progress, the reports, the screen and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from spa import reports
from spa.cli.failure import classify, complain, say
from spa.cli.limit import limited
from spa.cli.progress import progress
from spa.errors import UsageError
from spa.events import Tell
from spa.reports.schema import Report, empty_report, unread

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_OF_A_FILE = 120
MISSED = (4, 5)  # a target or a gate: the report shows by how much, and what stood in the way


@dataclass(frozen=True)
class Shell:
    """What a person said about where the words of a command go."""

    command: str
    source: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    reports: tuple[Path, ...] = ()
    timeout: float | None = None
    memory: int | None = None
    stdout_taken: bool = False


@dataclass(frozen=True)
class Answer:
    """What a command found out; the exit code says whether that is good."""

    data: Any
    exit_code: int = 0


def shell_of(
    command: str, options: Mapping[str, Any], *, source: str | None = None, stdout: bool = False
) -> Shell:
    """Pick the shell's own options; `stdout` says that a file goes to standard output."""
    return Shell(
        command=command,
        source=source,
        json=options.get("json", False),
        quiet=options.get("quiet", False),
        verbose=options.get("verbose", 0),
        no_color=options.get("no_color", False),
        reports=tuple(Path(path) for path in options.get("report", ())),
        timeout=options.get("timeout"),
        memory=options.get("memory"),
        stdout_taken=stdout,
    )


def run(
    shell: Shell,
    work: Callable[[Tell], Answer],
    show: Callable[[Any], RenderableType],
) -> int:
    """Do the work, deliver what came of it, and return the exit code."""

    def buried(error: BaseException) -> None:
        _console(shell, stderr=True).show_cursor()  # which a bar has hidden
        _bury(shell, error, show)
        complain(error, verbose=False)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

    try:
        reports.check_paths(*shell.reports)
        if shell.json and shell.stdout_taken:
            raise UsageError(
                "--json and the result both want standard output; give -o FILE or --report FILE"
            )
        with (
            progress(_progress(shell), verbose=shell.verbose > 0) as tell,
            limited(shell.timeout, tell, shell.memory, buried) as watched,
        ):
            answer = work(watched)
        _deliver(shell, answer, show)
    except BrokenPipeError:
        raise  # the reader has gone; click ends this without a word
    except (Exception, KeyboardInterrupt) as error:
        _bury(shell, error, show)
        return complain(error, verbose=shell.verbose > 0)
    return answer.exit_code


def _deliver(shell: Shell, answer: Answer, show: Callable[[Any], RenderableType]) -> None:
    if shell.reports:
        reports.write(answer.data, *shell.reports)
    if shell.json:
        click.echo(reports.to_json(answer.data), nl=False)
    if not shell.quiet:
        _screen(shell, show(answer.data))
    if answer.exit_code:
        say(answer.data.get("error") or "failed; the report says why")


def _bury(shell: Shell, error: BaseException, show: Callable[[Any], RenderableType]) -> None:
    """Report a failure too; what cannot be written must not hide why the work failed."""
    failure = classify(error)
    partial = getattr(error, "report", None) or empty_report(shell.command)
    report = cast(Report, dict(partial))
    report["status"], report["exit_code"] = failure.status, failure.exit_code
    report["error"] = failure.message
    known = report["input"] is not None
    if not known and shell.source is not None:
        report["input"] = unread(shell.source)
    if shell.json and not shell.stdout_taken:
        click.echo(reports.to_json(report), nl=False)
    if not shell.quiet and failure.exit_code in MISSED and known:
        _screen(shell, show(report))
    for path in shell.reports:
        try:
            reports.write(report, path)
        except Exception as second:
            if str(second) != str(error):
                say(classify(second).message)


def _screen(shell: Shell, words: RenderableType) -> None:
    _console(shell, stderr=shell.json or shell.stdout_taken).print(words)


def _progress(shell: Shell) -> Console | None:
    return None if shell.quiet else _console(shell, stderr=True)


def _console(shell: Shell, *, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(
        file=sys.stderr if stderr else sys.stdout,
        no_color=True if shell.no_color else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    return console
