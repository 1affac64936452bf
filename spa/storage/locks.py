"""Locks that belong to an open file: they end with their process, however that ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.02

REPLACING = threading.RLock()
"""Held by the thread that replaces files: a process that ends itself waits for it (`abandon`)."""

if sys.platform == "win32":
    import msvcrt

    def lock(handle: int, *, wait: bool) -> bool:
        """Take the lock of an open file; False if somebody else holds it."""
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:  # waiting ends after ten seconds there
                if not wait:
                    return False
            else:
                return True

else:
    import fcntl

    def lock(handle: int, *, wait: bool) -> bool:
        """Take the lock of an open file; False if somebody else holds it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only run that replaces files of a folder, where the system can lock one.

    What happens inside is short.  So whoever waits for long waits for something else that holds
    the folder, and goes on: each single file is still replaced at once.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        with REPLACING:
            yield
        return
    try:
        limit = time.monotonic() + PATIENCE_SECONDS
        while not _locked(handle) and time.monotonic() < limit:
            time.sleep(LOOK_SECONDS)
        with REPLACING:
            yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        return lock(handle, wait=False)
    except OSError:  # a file system without locks
        return True
