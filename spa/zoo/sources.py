"""What a person names becomes a list of models, each with a place below the destination.

A model keeps its path below the folder, glob or list that named it.  It follows from this source
alone, so that adding another source moves nothing.
"""

from __future__ import annotations

import glob as globs
import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spa.errors import ReadError, SpaError, UsageError
from spa.zoo import remote
from spa.zoo.listed import Entry, entries_of
from spa.zoo.model import Found
from spa.zoo.paths import has_magic, is_inside, is_url, local

BESIDE = (".data", "_data")  # what exporters call the data file of a large model
LISTS = (".txt", ".toml")


def find(sources: Iterable[str], dest: Path) -> list[Found]:
    """The models of all sources, largest first.

    One that cannot be had says so in its `error`, as long as its source has others.

    Args:
        sources: folders, files, globs, lists (`.txt`, `.toml`), paths or URLs.
        dest: what is in there is a result and not a source.

    Raises:
        ReadError: a source does not exist or holds no model.
        UsageError: two models would go to one place.
    """
    avoid = os.path.realpath(dest)
    places: dict[str, Found] = {}
    seen: dict[str, str] = {}
    for source in sources:
        for found in _expanded(source, avoid):
            if seen.setdefault(found.source, found.name) != found.name:
                continue  # one file that two sources name is pruned once
            other = places.setdefault(found.name, found)
            if other.source != found.source:
                raise UsageError(
                    f"{other.source} and {found.source} would both become {found.name} in the "
                    "destination; name a folder above both, or use one destination for each"
                )
    return sorted(places.values(), key=lambda each: (-each.size, each.name))


def share(found: Iterable[Found], text: str) -> list[Found]:
    """Part i of n of the models, written i/n.

    A model's share follows from its name alone.  So machines that see different listings, because
    a file was added in between, still never take one model twice, and none that all see is lost.

    Raises:
        UsageError: it is not written so, or i is not in 1..n.
    """
    first, mark, second = text.partition("/")
    if not (mark and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise UsageError(f"--shard {text!r} is not a part of a whole; write 1/4 to 4/4")
    return [each for each in found if _number(each.name) % int(second) == int(first) - 1]


def _number(name: str) -> int:
    return int.from_bytes(
        hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big"
    )


def _placed(found: Found, dest: str) -> Found:
    """The model, or what is wrong with its place."""
    try:
        if found.error is None:
            _check_place(found, dest)
    except UsageError as error:
        return replace(found, error=error)
    return found


def _check_place(found: Found, dest: str) -> None:
    if "\0" in found.name + found.source:
        raise UsageError(f"the name {found.name!r} is none that a file can have; choose another")
    if not is_inside(found.name):
        raise UsageError(f"the name {found.name!r} leads out of the destination; choose another")
    target = os.path.join(dest, *found.name.split("/"))
    if not is_url(found.source) and os.path.realpath(found.source) == target:
        raise UsageError(
            f"the result of {found.source} would take its own place; name a destination with -d "
            "that holds no sources"
        )


def _expanded(source: str, avoid: str) -> list[Found]:
    source = local(source)
    if Path(source).suffix.lower() in LISTS and not has_magic(source):
        found = list(_listed(source, avoid))
    else:
        found = list(_plain(source, "", avoid))
    if not found:
        raise ReadError(f"no .onnx file in {source}; check what it names")
    found = [_placed(each, avoid) for each in found]
    errors = [each.error for each in found if each.error is not None]
    if len(errors) == len(found):
        raise errors[0]
    return found


def _listed(source: str, avoid: str) -> Iterator[Found]:
    """The entries of a list; each is anything but another list."""
    entries = entries_of(source)
    _check_fetched(entries, source)
    for entry in entries:
        prefix = _kept(entry.written) if entry.name is None else entry.name
        try:
            yield from _entered(entry, prefix, avoid)
        except (SpaError, ValueError) as error:  # of this entry alone
            why = error if isinstance(error, SpaError) else ReadError(f"{entry.written}: {error}")
            yield Found(prefix, entry.where, error=why)


def _entered(entry: Entry, prefix: str, avoid: str) -> list[Found]:
    if entry.error is not None:
        raise entry.error
    where = local(entry.where)
    if where.lower().endswith(".onnx") and not has_magic(where):
        size = 0 if is_url(where) else _size(where)
        return [Found(prefix, _absolute(where), size, entry.sha256, entry.options)]
    found = _plain(where, _stem_of_glob(prefix), avoid)
    return [replace(each, sha256=None, options=entry.options) for each in found]


def _check_fetched(entries: Sequence[Entry], source: str) -> None:
    """Say how to get what a list's own command has not brought yet, where that is all of it."""
    brought = [entry for entry in entries if entry.fetch and not is_url(entry.where)]
    missing = [entry for entry in brought if not os.path.exists(local(entry.where))]
    if missing and len(missing) == len(entries):
        names = ", ".join(str(entry.name) for entry in missing[:3])
        more = ", ..." if len(missing) > 3 else ""
        raise ReadError(
            f"{len(missing)} of {len(entries)} models of {source} are not there yet "
            f"({names}{more}); fetch them with: {missing[0].fetch}"
        )


def _plain(source: str, prefix: str, avoid: str) -> Iterator[Found]:
    """A file, a folder or a glob, here or elsewhere."""
    if is_url(source):
        yield from _remote(source, prefix)
    elif has_magic(source) and not os.path.exists(source):
        root = _stem_of_glob(source)
        for path in sorted(globs.glob(source, recursive=True)):
            if os.path.isdir(path):
                yield from _folder(path, _joined(prefix, _below(path, root)), avoid)
            elif path.lower().endswith(".onnx") and not _inside(path, avoid):
                yield _file(path, _joined(prefix, _below(path, root)))
    elif os.path.isdir(source):
        yield from _folder(source, prefix, avoid)
    elif os.path.isfile(source):
        yield _file(source, prefix or os.path.basename(source))
    else:
        raise ReadError(f"{source} does not exist; check the path")


def _folder(folder: str, prefix: str, avoid: str) -> Iterator[Found]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _inside(os.path.join(root, name), avoid)
        )
        for name in sorted(names):
            path = os.path.join(root, name)
            if name.lower().endswith(".onnx") and not name.startswith("."):
                yield _file(path, _joined(prefix, _below(path, folder)))


def _remote(url: str, prefix: str) -> Iterator[Found]:
    if url.lower().endswith(".onnx") and not has_magic(url):
        yield Found(prefix or posixpath.basename(unquote(urlsplit(url).path)), url)
        return
    for name, each, size in remote.listing(url, _stem_of_glob(url), glob=has_magic(url)):
        yield Found(_joined(prefix, name), each, size)


def _file(path: str, name: str) -> Found:
    try:
        return Found(name, _absolute(path), _size(path))
    except ReadError as error:  # a link to nowhere, a pipe
        return Found(name, _absolute(path), error=error)


def _size(path: str) -> int:
    """Bytes of a model with the data file it most likely has: an order, not an account."""
    if not os.path.isfile(path):
        why = "is no file" if os.path.exists(path) else "does not exist"
        raise ReadError(f"{path} {why}; check the path")
    beside = (path + ending for ending in BESIDE)
    return sum(os.path.getsize(each) for each in (path, *beside) if os.path.isfile(each))


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(path)


def _inside(path: str, folder: str) -> bool:
    return (os.path.realpath(path) + os.sep).startswith(folder + os.sep)


def _below(path: str, folder: str) -> str:
    return os.path.relpath(path, folder or ".").replace(os.sep, "/")


def _joined(prefix: str, name: str) -> str:
    return posixpath.join(prefix, name) if prefix else name


def _stem_of_glob(source: str) -> str:
    """The folder above the first wildcard; without wildcards, the whole."""
    parts = source.replace(os.sep, "/").split("/")
    plain = next((k for k, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join(parts[:plain]) or ("/" if source.startswith("/") else "")


def _kept(written: str) -> str:
    """A path or URL of a list as a place: itself, without what is only true on this machine."""
    if is_url(written):
        url = urlsplit(local(written))
        return f"{url.netloc}{unquote(url.path)}".strip("/")
    plain = os.path.splitdrive(written)[1].replace(os.sep, "/")
    parts = posixpath.normpath(plain).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))
