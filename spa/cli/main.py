"""Where the shell enters: whatever happens below becomes an exit code and at most one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spa.cli import spa
from spa.cli.failure import complain
from spa.cli.signals import terminable


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(argv))


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
