"""One way to run a command: the limit, the progress, the reports, the screen and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from spa import reports
from spa.cli.failure import classify, complain, say
from spa.cli.limit import limited
from spa.cli.options import SHELL, Command, Decorator, config_in_use
from spa.cli.progress import progress
from spa.errors import UsageError
from spa.events import Callback, Note
from spa.reports.failure import buried
from spa.reports.schema import FileFacts, Kind, Report

if TYPE_CHECKING:
    from rich.console import Console

VARIABLES = "Every option can be set by an environment variable: SPA_{name}_JSON=1 for --json."
WIDTH_OF_A_FILE = 120
MISSED = (4, 5)  # a target or a gate: the report shows by how much, and what stood in the way


@dataclass(frozen=True)
class Answer:
    """What a command found out; the exit code says whether that is good."""

    data: Any
    exit_code: int = 0


@dataclass(frozen=True)
class Task:
    """What a command is to do, once its arguments were looked at.

    Attributes:
        work: does it.
        show: what a person sees of the answer's data, as `module:function` of `spa.reports`.
        source: the model that is read.
        written: files besides the reports, and what they are.
        stdout_taken: a file goes to standard output.
        limits: the limits of this process, where those given are not meant for it.
    """

    work: Callable[[Callback], Answer]
    show: str = "console:summary"
    source: str | None = None
    written: Mapping[Path, Kind] = field(default_factory=dict)
    stdout_taken: bool = False
    limits: Mapping[str, Any] | None = None


def command(
    name: str, *sets: Sequence[Decorator]
) -> Callable[[Callable[..., Task]], click.Command]:
    """A command of the shell, with these options and the shell's own.

    What is decorated looks at the arguments and says what to do; what it raises is an error in
    the command line, before anything was done.
    """

    def decorate(prepare: Callable[..., Task]) -> click.Command:
        @wraps(prepare)
        def call(**options: Any) -> int:
            return _Run(name, options, prepare(**options)).run()

        made: Any = call
        for each in reversed([one for group in (*sets, SHELL) for one in group]):
            made = each(made)
        epilog = VARIABLES.format(name=name.upper())
        return click.command(name, cls=Command, epilog=epilog)(made)

    return decorate


class _Run:
    """One command while it runs, and what a person said about where its words go."""

    def __init__(self, name: str, options: Mapping[str, Any], task: Task) -> None:
        self.name, self.task, self.config = name, task, config_in_use()
        self.words = ["spa", *(click.get_current_context().obj or [name])]
        self.json, self.quiet = options["json"], options["quiet"]
        self.verbose, self.no_color = options["verbose"] > 0, options["no_color"]
        self.reports = tuple(Path(path) for path in options.get("report", ()))
        limits = options if task.limits is None else task.limits
        self.seconds, self.memory = limits.get("timeout"), limits.get("memory")

    def run(self) -> int:
        """Do the work, deliver what came of it, and return the exit code."""
        try:
            reports.check_paths(*self.reports)
            if self.json and self.task.stdout_taken:
                raise UsageError(
                    "--json and the result both want standard output; give -o FILE or --report FILE"
                )
            console = None if self.quiet else self._console(stderr=True)
            with (
                progress(console, verbose=self.verbose) as callback,
                limited(self.seconds, callback, self.memory, self._last_words) as watched,
            ):
                if self.config is not None:
                    watched(Note(f"options of {self.config.path} are used"))
                answer = self.task.work(watched)
            self._deliver(answer)
        except BrokenPipeError:
            raise  # the reader has gone; click ends this without a word
        except (Exception, KeyboardInterrupt) as error:
            self._bury(error)
            return complain(error, verbose=self.verbose)
        return answer.exit_code

    def _last_words(self, error: BaseException) -> None:
        self._console(stderr=True).show_cursor()  # which a bar has hidden
        self._bury(error)
        complain(error, verbose=False)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

    def _told(self, report: Report) -> Report:
        """A report with the command and the files that it led to, which only the shell knows."""
        report["command_line"] = self.words
        mine: list[FileFacts] = [
            {
                "kind": kind,
                "path": str(path),
                "bytes": len(made),
                "sha256": sha256(made).hexdigest(),
            }
            for path, kind in self.task.written.items()
            if path.is_file()
            for made in [path.read_bytes()]
        ]
        mine += [
            {"kind": "report", "path": str(path), "bytes": None, "sha256": None}
            for path in self.reports
        ]
        if mine:
            report["files"] = [*report.get("files", ()), *mine]
        return report

    def _deliver(self, answer: Answer) -> None:
        if isinstance(answer.data, dict) and "schema_version" in answer.data:
            self._told(cast(Report, answer.data))
        if self.reports:
            reports.write(answer.data, *self.reports)
        if self.json:
            click.echo(reports.to_json(answer.data), nl=False)
        if not self.quiet:
            self._screen(answer.data)
        if answer.exit_code:
            say(answer.data.get("error") or "failed; the report says why")

    def _bury(self, error: BaseException) -> None:
        """Report a failure too; what cannot be written must not hide why the work failed."""
        failure = classify(error)
        report = self._told(buried(error, failure, self.name, self.task.source))
        if self.json and not self.task.stdout_taken:
            click.echo(reports.to_json(report), nl=False)
        known = report["input"] is not None and report["input"]["sha256"]
        if not self.quiet and failure.exit_code in MISSED and known:
            self._screen(report)
        for path in self.reports:
            try:
                reports.write(report, path)
            except Exception as second:
                if str(second) != str(error):
                    say(classify(second).message)

    def _screen(self, data: Any) -> None:
        module, _, name = self.task.show.partition(":")
        show = getattr(import_module(f"spa.reports.{module}"), name)
        self._console(stderr=self.json or self.task.stdout_taken).print(show(data))

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        console = Console(
            file=sys.stderr if stderr else sys.stdout,
            no_color=True if self.no_color else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = WIDTH_OF_A_FILE
        return console
