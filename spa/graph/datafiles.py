"""Data files beside a model: how ours are called, which one needs no more, what a model reads."""

from __future__ import annotations

import hashlib
import mmap
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import onnx

from spa.graph.tensors import is_external, location_of, tensors_of

DIGITS = 12
SUFFIX = ".onnx"
CHUNK = 1 << 22


def data_name(target: Path, digest: str) -> str:
    """The name of the data of a model at `target`: its stem, the digest's start, `.data`."""
    return f"{_stem(target)}.{digest[:DIGITS]}.data"


def _stem(target: Path) -> str:
    return target.stem if target.suffix.lower() == SUFFIX else target.name


def data_files(path: Path) -> list[Path]:
    """Where a model says that it keeps its data; none for what cannot be read as a model."""
    try:
        proto = onnx.load(path, load_external_data=False)
        found = {location_of(t)[0] for t, _ in tensors_of(proto) if is_external(t)}
    except Exception:  # whatever is wrong with it, reading finds out and says so
        return []
    return [path.parent / location for location in sorted(found) if "\0" not in location]


def lies_there(place: Path) -> bool:
    """Whether a file has the contents that its name tells."""
    match = re.search(rf"\.([0-9a-f]{{{DIGITS}}})\.data$", place.name)
    try:
        if match is None or not stat.S_ISREG(place.lstat().st_mode):
            return False
        digest = hashlib.sha256()
        with place.open("rb") as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest().startswith(match[1])


def outdated(target: Path) -> Iterator[Path]:
    """Data that we wrote for earlier models at `target` and that no model in the folder needs.

    Ours are those whose name follows from the target's and from their own contents.
    """
    pattern = re.compile(rf"{re.escape(_stem(target))}\.[0-9a-f]{{{DIGITS}}}\.data")
    beside = sorted(target.parent.iterdir())
    models = [each for each in beside if each == target or each.suffix.lower() == SUFFIX]
    for path in beside:
        if not pattern.fullmatch(path.name) or any(_names(m, path.name) for m in models):
            continue
        if lies_there(path):
            yield path


def _names(model: Path, name: str) -> bool:
    """Whether the name of a data file stands in a model; what cannot be read may need it."""
    try:
        with model.open("rb") as file:
            if model.stat().st_size == 0:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(name.encode()) >= 0
    except IsADirectoryError:
        return False
    except (OSError, ValueError):
        return True
