"""Small questions about files: what one looks like from outside, and where a URL points."""

from __future__ import annotations

import hashlib
import os
import posixpath
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

MAGIC = frozenset("*?[")
CHUNK = 1 << 20


def is_url(text: str) -> bool:
    """Whether this is a URL, and not a path (a drive's letter is no scheme)."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and len(scheme) > 1 and scheme.replace("+", "").replace("-", "").isalnum()


def local(text: str) -> str:
    """A `file://` URL as a path; anything else as it is."""
    if text.startswith("file://"):
        return url2pathname(unquote(urlsplit(text).path))
    return text


def has_magic(text: str) -> bool:
    """Whether this is a glob and not the name of something."""
    return not MAGIC.isdisjoint(text)


def stamp(path: Path) -> str:
    """Size and time of change: as long as they stay, the contents are taken to stay."""
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def sha256(path: Path) -> str:
    """Hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def is_inside(location: str) -> bool:
    """Whether a relative location stays in its folder."""
    plain = posixpath.normpath(location.replace(os.sep, "/"))
    return bool(location) and not plain.startswith(("/", "../")) and plain != ".."
