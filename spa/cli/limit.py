"""The time limit: work that takes too long ends in a LimitError.

An alarm interrupts the main thread; elsewhere the limit is noticed when the work reports progress.
Either way Python reacts between two of its own steps, so one long native call (a model's run, a
factorisation) ends first.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from spa.errors import LimitError, UsageError
from spa.events import Event, Tell

# Rung again at this interval: a step that shrugs off its errors must not shrug off the limit.
AGAIN_SECONDS = 2.0

# Rung again so soon where an error would be lost or leave something half done.
SOON_SECONDS = 0.005


class _Late(BaseException):
    """The limit on its way out: no step that handles errors takes it for one of its own."""


@contextmanager
def time_limit(seconds: float | None, tell: Tell) -> Iterator[Tell]:
    """Raise LimitError in the body after so many seconds; the body tells what is yielded."""
    if seconds is None:
        yield tell
        return
    if not seconds > 0:
        raise UsageError(f"--timeout must be above 0 seconds, not {seconds:g}")
    deadline = time.monotonic() + seconds
    late = LimitError(
        f"the time limit of {seconds:g} s was reached; give more with --timeout, "
        "or less to do (--verify none, a smaller --input-shape)"
    )

    def watched(event: Event) -> None:
        if time.monotonic() > deadline:
            raise late
        tell(event)

    with _interruption(seconds, late):
        yield watched


def _interruption(seconds: float, late: LimitError) -> AbstractContextManager[None]:
    if threading.current_thread() is not threading.main_thread():
        return nullcontext()
    return _alarm(seconds, late) if hasattr(signal, "setitimer") else _interrupt(seconds, late)


@contextmanager
def _alarm(seconds: float, late: LimitError) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        if _delicate(frame):
            signal.setitimer(signal.ITIMER_REAL, SOON_SECONDS, AGAIN_SECONDS)
        else:
            raise _Late

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late as rung:
        vars(late).update(vars(rung))  # the report of how far the work got
        raise late from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def _delicate(frame: FrameType | None) -> bool:
    """Whether an error raised in a frame would break the start of a thread or be swallowed.

    A thread whose start is broken off runs without being known to Python, and Python drops what
    is raised while an object is taken apart.
    """
    while frame is not None:
        code = frame.f_code
        if code is threading.Thread.start.__code__ or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def _interrupt(seconds: float, late: LimitError) -> Iterator[None]:
    """Do the same where the system has no alarms: a second thread presses Ctrl-C."""
    rung = threading.Event()

    def ring() -> None:
        rung.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if rung.is_set():
            raise late from None
        raise
    finally:
        timer.cancel()
