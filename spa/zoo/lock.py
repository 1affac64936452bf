"""Locks that die with their holder: no run can be shut out by one that was killed.

The lock belongs to an open file, which the process of a model inherits.  So it is held until the
last of both is gone, and a model whose parent was killed is not taken up beside its orphan.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed(path: Path) -> Iterator[int | None]:
    """Hold the lock of this name and yield its descriptor, or None while somebody else does."""
    handle = _opened(path)
    try:
        yield handle if _lock(handle, wait=False) else None
    finally:
        os.close(handle)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of this name, after waiting for it if need be."""
    handle = _opened(path)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, wait: bool) -> bool:
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

    def _lock(handle: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
