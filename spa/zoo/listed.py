"""Lists of models: `.txt` with a path or URL a line, `.toml` with a table for each."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spa.config import read_toml
from spa.errors import ReadError
from spa.zoo import remote
from spa.zoo.paths import is_url


@dataclass(frozen=True)
class Entry:
    """One line or table: as it was written, and where that is as seen from here."""

    written: str
    where: str
    name: str | None = None
    sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    fetch: str | None = None  # the command that brings it, where the list names one
    error: ReadError | None = None  # what is wrong with it, where that is no matter of the list


def entries_of(source: str) -> list[Entry]:
    """The entries of a list; paths in it are relative to its own folder.

    Raises:
        ReadError: the list is missing, is not written as it should be, or names no file.
    """
    text = _text(source)
    if source.lower().endswith(".toml"):
        return list(_tables(read_toml(text, source), source))
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [Entry(line, _from(source, line)) for line in lines if line and line[0] != "#"]


def _text(source: str) -> str:
    if is_url(source):
        return remote.text(source)
    try:
        return Path(source).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ReadError(f"the list {source} cannot be read ({why}); check the path") from error


def _from(source: str, written: str) -> str:
    """A path of a list, as seen from here."""
    if is_url(written) or Path(written).is_absolute():
        return written
    if is_url(source):
        return posixpath.join(posixpath.dirname(source), written)
    return str(Path(source).parent / written)


def _tables(data: Mapping[str, Any], source: str) -> Iterator[Entry]:
    """Every `[[model]]`: `path`, `url`, or a `name` in the list's `folder`, filled by `fetch`."""
    models = data.get("model")
    if not isinstance(models, list) or not all(isinstance(each, Mapping) for each in models):
        raise ReadError(f"{source} lists no models; write a [[model]] table for each")
    folder = str(data.get("folder", "."))
    for number, table in enumerate(models, 1):
        name = table.get("name")
        if name is not None:
            name = name if str(name).endswith(".onnx") else f"{name}.onnx"
        written, fetch = table.get("path") or table.get("url"), None
        if written is None and name is not None:
            written, fetch = posixpath.join(folder, name), data.get("fetch")
        if not isinstance(written, str):
            why = f"model {number} of {source} has neither path, url nor name; give it one of them"
            yield Entry(f"model {number}", "", error=ReadError(why))
            continue
        options = table.get("options", {})
        if not isinstance(options, Mapping):
            why = f"the options of {written} in {source} are no table; write key = value"
            yield Entry(written, "", name, error=ReadError(why))
            continue
        where = _from(source, written)
        yield Entry(written, where, name, table.get("sha256"), options, fetch)
