"""Where the shell enters: whatever happens below becomes an exit code and at most one sentence."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from spa.cli import spa
from spa.cli.failure import complain

ASKING = ("SIGTERM", "SIGHUP")
"""What schedulers send before they kill, and what a terminal sends when it is closed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    code = run(argv)
    _forget_unwritten()
    sys.exit(code)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A name the terminal cannot spell must not turn into an error of its own.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with terminable():
            code = spa.main(args=arguments, prog_name="spa", standalone_mode=False, obj=arguments)
            sys.stdout.flush()  # what cannot be written is better said here than after the end
    except (Exception, KeyboardInterrupt) as error:
        return complain(error, verbose=not {"-v", "-vv", "--verbose"}.isdisjoint(arguments))
    return code if isinstance(code, int) else 0


def _forget_unwritten() -> None:
    """Let go of what standard output did not take, which Python would try once more at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def terminable() -> Iterator[None]:
    """Raise KeyboardInterrupt in the body when the system asks the process to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for name in ASKING:
        number = getattr(signal, name, None)
        # What is ignored (as under nohup) or handled already stays so.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
