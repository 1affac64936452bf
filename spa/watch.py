"""Limits that reach into libraries: what runs there is asked to end, and else the process ends.

Python reacts between two of its own steps only, and one run of a model may last for days.  While
limits hold, a thread looks at the clock and the memory; runs and sessions say here how to end them.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spa.errors import LimitError
from spa.storage import abandon

LOOK_SECONDS = 0.1

AGAIN_SECONDS = 2.0
"""Told again at this interval: a step that shrugs off its errors must not shrug off a limit."""

GRACE_SECONDS = 5.0
"""How long what was asked to end may go on before the process ends."""

BEYOND = 1 << 30
"""Bytes above the limit of memory at which there is no grace."""

RUN_SECONDS = 30.0
"""What one run may take where no limit of time was given, and more the larger it is."""

PRODUCTS_PER_SECOND = 1e9
"""Bytes of a model times input numbers: more than the work of what has no loops."""

BYTES_PER_SECOND = 1e7
"""Bytes of a model that may have to be fetched from a disk first."""

EXIT_CODE = LimitError.exit_code


@dataclass(frozen=True)
class Limits:
    """What may be taken; None: any amount.

    Attributes:
        seconds: of time, from the beginning of the watch.
        memory: bytes, as `held` counts them.
        run: seconds of one run, of a model and inputs that are small.
    """

    seconds: float | None = None
    memory: int | None = None
    run: float | None = None


@dataclass(eq=False)
class Call:
    """A call into a library that is going on."""

    stop: Callable[[], None]
    began: float
    seconds: float  # that it may take
    error: LimitError | None = None  # why it was asked to end
    asked: float = math.inf  # and when

    def end(self, error: LimitError, now: float) -> None:
        """Ask it to end, once."""
        if self.error is None:
            self.error, self.asked = error, now
            self.stop()


class Watch:
    """Limits in force, and the calls that go on under them."""

    def __init__(
        self,
        limits: Limits,
        callback: Callable[[LimitError], None],
        give_up: Callable[[LimitError], None],
    ) -> None:
        """See `watching`."""
        self.limits, self._callback, self._give_up = limits, callback, give_up
        self.error: LimitError | None = None  # once a limit was reached
        self.calls: dict[int, Call] = {}
        self.size = 0  # bytes of the largest model that was read
        self._began = time.monotonic()
        self._reached, self._told = math.inf, -math.inf
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spa-watch", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; does not return while the process is being ended."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def seconds_for(self, numbers: int) -> float:
        """What a run may take that reads so many input numbers."""
        if self.limits.run is None:
            return math.inf
        more = self.size / BYTES_PER_SECOND + self.size * numbers / PRODUCTS_PER_SECOND
        return self.limits.run + more

    def _watch(self) -> None:
        while not self._done.wait(self._pause()):
            self._look(time.monotonic())

    def _pause(self) -> float:
        if self.limits.seconds is None or self.error is not None:
            return LOOK_SECONDS
        left = self._began + self.limits.seconds - time.monotonic()
        return min(LOOK_SECONDS, max(left, 0.0))

    def _look(self, now: float) -> None:
        if self.error is None:
            self.error = self._exceeded(now)
            self._reached = now
        if self.error is not None and now - self._told >= AGAIN_SECONDS:
            self._told = now
            self._callback(self.error)
        for call in list(self.calls.values()):
            if self.error is not None:
                call.end(self.error, now)
            elif now - call.began > call.seconds:
                call.end(long(call.seconds), now)
            if call.error is not None and now - call.asked > GRACE_SECONDS:
                self._give_up(call.error)
        if self.error is not None and (now - self._reached > GRACE_SECONDS or self._burst()):
            self._give_up(self.error)

    def _exceeded(self, now: float) -> LimitError | None:
        limits = self.limits
        if limits.seconds is not None and now - self._began >= limits.seconds:
            return late(limits.seconds)
        if limits.memory is not None and held() > limits.memory:
            return full(limits.memory)
        return None

    def _burst(self) -> bool:
        return self.limits.memory is not None and held() > self.limits.memory + BEYOND


_watches: list[Watch] = []
"""Those in force: limits are those of the process, on whatever thread it works."""


@contextmanager
def watching(
    limits: Limits, callback: Callable[[LimitError], None], give_up: Callable[[LimitError], None]
) -> Iterator[Watch]:
    """Let limits hold in the body.

    Args:
        limits: what may be taken.
        callback: is called by the thread that looks when a limit was reached, and again every
            `AGAIN_SECONDS`; shall raise the error where the work goes on.
        give_up: is called by that thread where this did not help; ends the process.
    """
    watch = Watch(limits, callback, give_up)
    _watches.append(watch)
    try:
        watch.start()
        yield watch
    finally:
        _watches.remove(watch)
        watch.close()


def leaving(last_words: Callable[[LimitError], object]) -> Callable[[LimitError], None]:
    """What ends the process, after these words and with nothing half written."""

    def give_up(error: LimitError) -> None:
        try:
            last_words(error)
            abandon()
        finally:
            os._exit(EXIT_CODE)

    return give_up


@contextmanager
def over(stop: Callable[[], None], numbers: int | None = None) -> Iterator[None]:
    """Let the limits in force end the one call into a library that the body makes.

    Args:
        stop: asks it to end, from another thread; it then raises an error of any kind.
        numbers: that it reads; None: only the limits of the whole hold, as it is many calls.

    Raises:
        LimitError: it was asked to end, and did.
    """
    watch = _watches[-1] if _watches else None
    if watch is None:
        yield
        return
    seconds = math.inf if numbers is None else watch.seconds_for(numbers)
    call = Call(stop, time.monotonic(), seconds)
    watch.calls[id(call)] = call
    try:
        yield
    except Exception as error:
        if call.error is not None:
            raise call.error from error
        raise
    finally:
        del watch.calls[id(call)]


def sized(size: int) -> None:
    """Say that a model takes so many bytes, its data files included."""
    for watch in _watches:
        watch.size = max(watch.size, size)


def late(seconds: float) -> LimitError:
    """The limit of time was reached."""
    return LimitError(
        f"the time limit of {seconds:g} s was reached; give more with --timeout, "
        "or less to do (--set verify=none, a smaller --input-shape)"
    )


def full(memory: int) -> LimitError:
    """The limit of memory was reached."""
    return LimitError(
        f"the memory limit of {memory / (1 << 30):.3g} GiB was reached; give more with --memory, "
        "or less to do (--set samples=16, a smaller --input-shape)"
    )


def long(seconds: float) -> LimitError:
    """One run took too long."""
    return LimitError(
        f"one run of the model took more than {seconds:.0f} s, which its size does not explain "
        "(it may loop without end); if it is as slow as that, give --timeout SECONDS for all"
    )


def held() -> int:
    """Bytes of memory that this process holds, without mapped files where the system tells them.

    On macOS the most that it has held so far; 0 where the system does not tell.
    """
    try:
        return _held()
    except (ImportError, OSError, ValueError, AttributeError):
        return 0


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    SIZES = (
        "PeakWorkingSetSize WorkingSetSize QuotaPeakPagedPoolUsage QuotaPagedPoolUsage "
        "QuotaPeakNonPagedPoolUsage QuotaNonPagedPoolUsage PagefileUsage PeakPagefileUsage"
    )

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS."""

        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in SIZES.split()),
        )

    def _held() -> int:
        counters = Counters()
        counters.cb = ctypes.sizeof(counters)
        kernel = ctypes.WinDLL("kernel32")
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        ask = kernel.K32GetProcessMemoryInfo
        ask.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
        told = ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
        return int(counters.WorkingSetSize) if told else 0

elif sys.platform == "linux":

    def _held() -> int:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")

else:

    def _held() -> int:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
