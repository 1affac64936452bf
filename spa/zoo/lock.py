"""Locks that die with their holder: no run can be shut out by one that was killed.

The lock belongs to an open file, which the process of a model inherits.  So it is held until the
last of both is gone, and a model whose parent was killed is not taken up beside its orphan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spa.storage import lock


@contextmanager
def claimed(path: Path) -> Iterator[int | None]:
    """Hold the lock of this name and yield its descriptor, or None while somebody else does."""
    handle = _opened(path)
    try:
        yield handle if lock(handle, wait=False) else None
    finally:
        os.close(handle)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of this name, after waiting for it if need be."""
    handle = _opened(path)
    try:
        lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
