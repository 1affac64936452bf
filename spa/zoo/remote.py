"""Models that lie elsewhere, through fsspec: S3, Google Storage, HTTP, memory and many more."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from spa.errors import LimitError, ReadError, first_line, install

Found = TypeVar("Found")
# What storages call the mark of a version: one of these changes whenever the contents do.
MARKS = ("etag", "md5hash", "content-md5", "crc32c", "lastmodified", "last-modified")
TIMES = ("last_modified", "mtime", "modified", "updated", "created")


def listing(url: str, root: str, *, glob: bool) -> list[tuple[str, str, int]]:
    """The models below a folder, or those that a glob names: path below `root`, URL and size."""
    system, path = _open(url)
    above = _open(root)[1].rstrip("/") + "/"
    found: Mapping[str, Mapping[str, Any]] = _asked(
        url, lambda: (system.glob if glob else system.find)(path, detail=True)
    )
    files = {p: i for p, i in found.items() if i.get("type") == "file" and p.endswith(".onnx")}
    return [
        (path.removeprefix(above), system.unstrip_protocol(path), int(info.get("size") or 0))
        for path, info in sorted(files.items())
    ]


def size(url: str) -> int:
    """Bytes of a file, or 0 where the storage does not tell."""
    system, path = _open(url)
    return int(_asked(url, lambda: system.info(path)).get("size") or 0)


def text(url: str) -> str:
    """A small file."""
    system, path = _open(url)
    data: bytes = _asked(url, lambda: system.cat_file(path))
    return data.decode("utf-8-sig")


def stamp(url: str) -> str | None:
    """What tells versions of a file apart without reading it; None where nothing does."""
    system, path = _open(url)
    info = {str(k).lower(): v for k, v in _asked(url, lambda: system.info(path)).items()}
    known = [f"{key}={info[key]}" for key in (*MARKS, *TIMES) if info.get(key)]
    if not known:
        return None
    return hashlib.sha256(f"{info.get('size')} {known}".encode()).hexdigest()[:24]


def fetch(url: str, target: Path, seconds: float | None = None) -> None:
    """Copy a file here.

    Raises:
        ReadError: the storage does not give it.
        LimitError: it took longer than `seconds`.
    """
    system, path = _open(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    _within(seconds, url, lambda: _asked(url, lambda: system.get_file(path, str(target))))


def _open(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ReadError(f"{url} needs fsspec; install it with {install('remote')}") from error
    system, path = _asked(url, lambda: url_to_fs(url))
    return system, path


def _asked(url: str, ask: Callable[[], Found]) -> Found:
    """What a storage answers; each has errors of its own, most without a class in common."""
    try:
        return ask()
    except FileNotFoundError as error:
        raise ReadError(f"{url} does not exist; check the address") from error
    except Exception as error:
        why = first_line(error)
        raise ReadError(
            f"{url} cannot be read ({why}); check the address, the credentials and whether the "
            "storage's own package is installed"
        ) from error


def _within(seconds: float | None, url: str, do: Callable[[], object]) -> None:
    """Run it aside, so that a storage which never answers holds up nobody but its own model."""
    raised: list[BaseException] = []

    def aside() -> None:
        try:
            do()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=aside, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise LimitError(f"{url} was not here after {seconds:g} s; give more with --timeout")
    if raised:
        raise raised[0]
