"""The zoo's memory: one JSON line per finished model, appended, synced and never changed.

Several runs may write to one file.  A line that a kill cut in half ends where the next begins, and
is passed over when read.  Whether a line is still true is seen without reading more than is needed.
"""

from __future__ import annotations

import json
import os
import posixpath
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from spa.errors import SpaError
from spa.zoo import remote
from spa.zoo.lock import held
from spa.zoo.model import Job, Layout
from spa.zoo.paths import is_url, sha256, stamp

Line = dict[str, Any]


class Manifest:
    """The last line about every model; reads only what was added since it last looked."""

    def __init__(self, path: Path) -> None:
        """Name the file, which need not exist yet."""
        self._path = path
        self._lines: dict[str, Line] = {}
        self._read = 0
        self._guard = threading.Lock()

    def find(self, name: str) -> Line | None:
        """What is known about a model at this moment."""
        with self._guard:
            self._refresh()
            return self._lines.get(name)

    def append(self, line: Line) -> None:
        """Add a line; when this returns, it is on the disk."""
        data = json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        with held(self._path.with_suffix(".lock")):
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _write(handle, data if _ends_well(handle) else b"\n" + data)
                os.fsync(handle)
            finally:
                os.close(handle)

    def _refresh(self) -> None:
        try:
            if self._path.stat().st_size < self._read:  # somebody put another file in its place
                self._read, self._lines = 0, {}
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            self._read, self._lines = 0, {}
            return
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for text in whole.splitlines():
            line = _parsed(text)
            if line is not None:
                self._lines[line["name"]] = line


def _ends_well(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    if size == 0:
        return True
    os.lseek(handle, -1, os.SEEK_END)
    return os.read(handle, 1) == b"\n"


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:  # cut in half, or not even text
        return None
    return line if isinstance(line, dict) and {"name", "row", "options"} <= line.keys() else None


@cache
def manifest_of(path: Path) -> Manifest:
    """The one manifest that this process has of a file."""
    return Manifest(path)


def is_settled(line: Line, job: Job, layout: Layout) -> bool:
    """Whether a line still holds, as long as the model is the same."""
    if line["options"] != job.options or line["expected"] != job.sha256:
        return False
    if line["row"]["transient"]:
        return False
    return all(is_intact(layout.dest / path, known) for path, known in line["output"].items())


def is_intact(path: Path, known: Mapping[str, str]) -> bool:
    """Whether a result is still what the manifest says of it."""
    try:
        now = stamp(path)
        same_size = now.split("-")[0] == known["stamp"].split("-")[0]
        return now == known["stamp"] or (same_size and sha256(path) == known["sha256"])
    except OSError:
        return False


def is_unchanged(line: Line, job: Job) -> bool:
    """Whether the source looks as it did, so that it need not be read again."""
    if line["source"] != job.source or not line["stamps"]:
        return False
    try:
        return all(_stamp_at(job.source, at) == known for at, known in line["stamps"].items())
    except (OSError, SpaError):
        return False


def _stamp_at(source: str, location: str) -> str | None:
    """The stamp of a model (".") or of a data file beside it."""
    if is_url(source):
        return remote.stamp(beside_url(source, location))
    return stamp(Path(source) if location == "." else Path(source).parent / location)


def beside_url(url: str, location: str) -> str:
    """The URL of a data file of the model at `url`, which itself is "."."""
    return url if location == "." else posixpath.join(posixpath.dirname(url), location)
