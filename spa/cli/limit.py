"""The limits of time and memory: work that takes too much ends in a LimitError.

The main thread is interrupted between two steps of Python's, and runs of models are ended; beside
the main thread limits are noticed when the work reports progress.  Where nothing of this helps,
the process ends (see `spa.watch`).
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from spa import watch
from spa.errors import LimitError, UsageError
from spa.events import Callback, Event

# Rung again so soon where an error would be lost or leave something half done.
SOON_SECONDS = 0.005

Ring = Callable[[], None]


class _Late(BaseException):
    """A limit on its way out: no step that handles errors takes it for one of its own."""


def _nothing(error: LimitError) -> None:
    """Leave no words."""


@contextmanager
def limited(
    seconds: float | None,
    callback: Callback,
    memory: int | None = None,
    last_words: Callable[[LimitError], None] = _nothing,
) -> Iterator[Callback]:
    """Raise LimitError in the body once it has taken too much; the body tells what is yielded.

    Args:
        seconds: of time; None: any, but no single run may take much more than its size explains.
        callback: is called with every event of progress.
        memory: bytes that may be held.
        last_words: is called before the process ends because a library does not listen.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--timeout must be above 0 seconds, not {seconds:g}")
    run = watch.RUN_SECONDS if seconds is None else None
    limits = watch.Limits(seconds, memory, run)
    found = [] if seconds is None else [watch.late(seconds)]
    with _interruption(found) as ring:

        def interrupt(error: LimitError) -> None:
            found[:] = [error]
            ring()

        with watch.watching(limits, interrupt, watch.leaving(last_words)) as guard:

            def watched(event: Event) -> None:
                if guard.error is not None:
                    raise guard.error
                callback(event)

            yield watched


def _interruption(found: list[LimitError]) -> AbstractContextManager[Ring]:
    """What interrupts the body, which then raises the last error found."""
    if threading.current_thread() is not threading.main_thread():
        return nullcontext(lambda: None)
    return _alarm(found) if hasattr(signal, "setitimer") else _interrupt(found)


@contextmanager
def _alarm(found: list[LimitError]) -> Iterator[Ring]:
    lock, over = threading.Lock(), threading.Event()

    def ring() -> None:
        with lock:
            if not over.is_set():
                signal.setitimer(signal.ITIMER_REAL, SOON_SECONDS)

    def heard(number: int, frame: FrameType | None) -> None:
        if _delicate(frame):
            signal.setitimer(signal.ITIMER_REAL, SOON_SECONDS)
        elif found:
            raise _Late

    handler = signal.signal(signal.SIGALRM, heard)
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        try:
            yield ring
        finally:
            over.set()
            with lock:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late as rung:
        vars(found[-1]).update(vars(rung))  # the report of how far the work got
        raise found[-1] from None
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
def _interrupt(found: list[LimitError]) -> Iterator[Ring]:
    """Do the same where the system has no alarms: Ctrl-C is pressed."""
    rung = threading.Event()

    def ring() -> None:
        rung.set()
        _thread.interrupt_main()

    try:
        yield ring
    except KeyboardInterrupt:
        if rung.is_set():
            raise found[-1] from None
        raise
