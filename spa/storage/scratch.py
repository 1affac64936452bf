"""Temporary folders that end with their process, or with the next run if it was killed.

A process that ends in the middle of its work leaves nothing behind, where it can (`abandon`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spa.errors import UsageError
from spa.storage.atomic import DRAFTS
from spa.storage.locks import PATIENCE_SECONDS, REPLACING
from spa.storage.stale import SCRATCH, clean, held, temporary_folder

FOLDERS: set[Path] = set()  # those of this process


class Scratch:
    """A temporary folder, whose lock is held until it is removed.

    Raises:
        UsageError: there is no room for temporary files.
    """

    def __init__(self) -> None:
        self._handle: int | None = None
        clean(temporary_folder())
        try:
            while not self._made():
                pass
        except OSError as error:
            raise UsageError(
                f"cannot make a folder for temporary files ({error.strerror or error}); make room "
                "in the one that the variable TMPDIR names, or name another"
            ) from error

    def _made(self) -> bool:
        """Make the folder; False if a run that cleans up was faster."""
        self._whole = Path(os.path.realpath(tempfile.mkdtemp(prefix=SCRATCH)))
        self.path = self._whole / "files"  # a lock of this one is for those who write there
        if os.name == "posix":
            try:
                self._handle = os.open(self._whole, os.O_RDONLY)
            except FileNotFoundError:
                return False
            if not held(self._whole, self._handle):
                os.close(self._handle)
                return False
        FOLDERS.add(self._whole)
        self.path.mkdir()
        return True

    def remove(self) -> None:
        """Remove it with all that is in it; a second time does nothing."""
        shutil.rmtree(self._whole, ignore_errors=True)
        FOLDERS.discard(self._whole)
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = None


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for the time of the body."""
    made = Scratch()
    try:
        yield made.path
    finally:
        made.remove()


def abandon() -> None:
    """Remove temporary files and folders of this process, which must end right after.

    Files that are being replaced are waited for; from then on none is.
    """
    REPLACING.acquire(timeout=PATIENCE_SECONDS)
    for path in list(DRAFTS):
        with suppress(OSError):  # where nothing that is open can be removed, the next run does
            path.unlink()
    for folder in list(FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)
