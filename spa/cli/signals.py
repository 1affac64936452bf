"""Signals that ask a run to end, taken like Ctrl-C: nothing half-written stays behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = ("SIGTERM", "SIGHUP")
"""What schedulers send before they kill, and what a terminal sends when it is closed."""


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
