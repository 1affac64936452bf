"""The one way a file is written: beside its place, synced, and moved there in one step.

Whoever looks at the place sees what was there or what is new, both complete.  A symbolic link at
the place is replaced itself, as `mv` and `sed -i` do: what it points to stays as it is.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from spa.errors import UsageError
from spa.storage.locks import alone
from spa.storage.stale import MARK, clean, held

LONGEST = 100  # letters of a name that its temporary name keeps, so that both fit


DRAFTS: set[Path] = set()  # those of this process that are being written


class Draft:
    """A new file beside its place, under a name that says whose it is; see `drafted`."""

    def __init__(self, target: Path) -> None:
        self.folder = target.parent
        while True:
            name = f".{target.name[:LONGEST]}.{secrets.token_hex(6)}{MARK}"
            self.path = self.folder / name
            # Unlike `tempfile`, `os.open` gives the permissions that the user's umask asks for.
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            self.file: BinaryIO = os.fdopen(handle, "w+b")
            DRAFTS.add(self.path)
            if held(self.path, handle):
                return
            self.file.close()  # taken for a leftover between the two calls
            DRAFTS.discard(self.path)

    def finish(self) -> None:
        """Bring what was written to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def put(self, target: Path) -> None:
        """Take the place of `target`, which is in the same folder."""
        if os.name != "posix":  # where nothing that is open can be moved
            self.file.close()
        move(self.path, target)

    def close(self) -> None:
        """Remove what took no place, and let go of the rest."""
        try:
            with suppress(OSError):
                self.path.unlink()
        finally:
            DRAFTS.discard(self.path)
            with suppress(OSError):  # a full disk may say so a second time
                self.file.close()


@contextmanager
def drafted(target: Path) -> Iterator[Draft]:
    """A file to be written; whatever ends the body leaves nothing of it that was not `put`."""
    draft = Draft(target)
    try:
        yield draft
    finally:
        draft.close()


def replaced(target: Path, contents: bytes, what: str, advice: str) -> None:
    """Write a whole file, in place of a regular file or of nothing (see `check_place`).

    Raises:
        UsageError: it cannot be written; calls it `what`, and says to do what is in `advice`.
    """
    with refused(target, what, advice), drafted(target) as draft:
        draft.file.write(contents)
        draft.finish()
        with alone(target.parent):
            draft.put(target)
    clean(target.parent)


@contextmanager
def refused(target: Path, what: str, advice: str) -> Iterator[None]:
    """Turn what the system says against writing into one sentence."""
    try:
        yield
    except OSError as error:
        words = f"{what} {target}".strip()
        raise UsageError(f"cannot write {words} ({error.strerror or error}); {advice}") from error


def move(made: Path, target: Path) -> None:
    """Put a whole file in its place on the same file system, for good where that can be had."""
    os.replace(made, target)
    with suppress(OSError):
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
