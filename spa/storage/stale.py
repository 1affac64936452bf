"""What killed runs left behind: temporary files and folders of ours that nobody holds any more.

Whoever makes one holds its lock as long as it is in use.  A lock that can be had says that the
holder is gone.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from spa.storage.locks import lock

MARK = ".spa-tmp"
DRAFT = re.compile(r"\..+\.[0-9a-f]{12}" + re.escape(MARK))
"""Names of files that are being written, beside the place that they will take."""

SCRATCH = "spa-scratch-"  # how the names of temporary folders begin


def clean(*folders: Path) -> None:
    """Remove what killed runs left in these folders; see `temporary_folder`.

    What cannot be looked at or removed stays: it costs room, and no run.
    """
    for folder in {*folders}:
        for path in _listed(folder):
            if DRAFT.fullmatch(path.name) or path.name.startswith(SCRATCH):
                _remove(path)


def temporary_folder() -> Path:
    """Where the system wants temporary files; where there is no such place, the next best."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path()


def _listed(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except OSError:
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            handle = os.open(path, os.O_RDONLY)
        elif stat.S_ISREG(kind):
            handle = os.open(path, os.O_RDWR)
        else:
            return
        try:
            if not lock(handle, wait=False):
                return
            if os.name == "posix":
                _unlink(path, kind)
        finally:
            os.close(handle)
        if os.name != "posix":  # where nothing that is open can be removed
            _unlink(path, kind)


def _unlink(path: Path, kind: int) -> None:
    if stat.S_ISDIR(kind):
        shutil.rmtree(path)
    else:
        path.unlink()


def held(path: Path, handle: int) -> bool:
    """Take the lock of what was just made; False if a run that cleans up was faster."""
    with suppress(OSError):  # a file system without locks: then nobody else can tell, either
        if not lock(handle, wait=False):
            return False
    with suppress(OSError):
        now = path.lstat()
        return os.path.samestat(now, os.fstat(handle))
    return False
