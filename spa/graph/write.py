"""Writing: all of a model or nothing, never over the input, beyond 2 GiB with external data.

External data go under a name that holds their digest, so that new data never take the place of
those that an older model file needs.  The move of the `.onnx` is the only commit: a run that is
killed before it leaves the old model with its old data, and old data go after it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, TensorProto

from spa.errors import ReadError, UsageError
from spa.graph.datafiles import data_name, lies_there, outdated
from spa.graph.tensors import (
    bits_of,
    copied,
    data_file,
    external_bytes,
    is_external,
    lies_at,
    location_of,
    raw_bytes,
    shell_of,
    tensors_of,
    to_array,
)
from spa.storage import Draft, alone, check_place, clashes, clean, drafted, refused, same_file

LARGEST_FILE = (1 << 31) - (1 << 20)  # bytes that a model file may have: protobuf ends at 2 GiB
SMALLEST_EXTERNAL = 1024
CHUNK = 1 << 22
ZEROS = bytes(CHUNK)


@dataclass(frozen=True)
class Saved:
    """What was written: `sha256` is of the model file, `bytes` counts its data file too."""

    path: Path
    sha256: str
    bytes: int
    data: Path | None = None
    data_sha256: str | None = None


def save(
    model: ModelProto,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    base_dir: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    reads: Iterable[str | os.PathLike[str]] = (),
    external: bool | None = None,
    contents: bytes | None = None,
) -> Saved:
    """Write `model` to `path` atomically; the model itself is not changed.

    Args:
        model: what to write.
        path: where to; external data go beside it (see `data_name`).
        force: whether an existing file may be replaced.
        base_dir: the folder that external data in `model` is relative to.
        source: the file that `model` was read from, which is never replaced.
        reads: further files that are never replaced.
        external: whether to write external data; by default if the model has some or is too
            large for one file.
        contents: the bytes that `model` was read from, which are written as they are; a model
            with external data goes by its values.

    Raises:
        UsageError: the file exists, is one that was read, or cannot be written.
    """
    target = Path(path)
    folder = None if base_dir is None else Path(base_dir)
    outside = [tensor for tensor, _ in tensors_of(model) if is_external(tensor)]
    found = {location_of(tensor)[0] for tensor in outside}
    beside = [folder / location for location in found] if folder is not None else []
    others = [Path(each) for each in reads]
    if source is not None:
        clashes({"the input": [source]}, [target])
    clashes({"a data file of the input": beside, "an input": others}, [target])
    check_place(target, "the output", force=force)
    if external or outside:
        contents = None
    elif contents is None:
        contents = _serialized(model)
    if external is None:
        external = contents is None
    with refused(target, "the output", "choose another output or make room there"):
        if contents is None:
            saved = _save_parts(model, target, external, folder, [*beside, *others])
        else:
            saved = _save_whole(contents, target, [*beside, *others])
    clean(target.parent)
    return saved


def _serialized(model: ModelProto) -> bytes | None:
    """The bytes of a model, or None if it is too large for one file."""
    inside = (tensor for tensor in model.graph.initializer if not is_external(tensor))
    if sum(map(raw_bytes, inside)) > LARGEST_FILE:
        return None
    try:
        contents = model.SerializeToString(deterministic=True)
    except Exception:  # protobuf has an EncodeError of its own, without type stubs
        return None
    return contents if len(contents) <= LARGEST_FILE else None


def _save_whole(contents: bytes, target: Path, reads: list[Path]) -> Saved:
    with drafted(target) as draft:
        draft.file.write(contents)
        _commit(draft, target, None, reads)
    return Saved(target, hashlib.sha256(contents).hexdigest(), len(contents))


def _save_parts(
    model: ModelProto, target: Path, external: bool, folder: Path | None, reads: list[Path]
) -> Saved:
    """Write the model and, if that is wanted, its large tensors beside it."""
    shell = shell_of(model)
    moved: list[tuple[TensorProto, int]] = []
    size = 0
    for tensor in model.graph.initializer:
        length = raw_bytes(tensor)
        if not external or length < SMALLEST_EXTERNAL or bits_of(tensor.data_type) == 0:
            shell.graph.initializer.append(_inside(tensor, folder))
            continue
        size += -size % (4096 if length >= 1 << 20 else 64)
        stub = shell.graph.initializer.add(
            name=tensor.name,
            data_type=tensor.data_type,
            dims=tensor.dims,
            doc_string=tensor.doc_string,
        )
        lies_at(stub, NOT_YET, size, length)
        moved.append((tensor, size))
        size += length
    for tensor, _ in tensors_of(shell):
        if is_external(tensor) and location_of(tensor)[0] != NOT_YET:
            tensor.CopyFrom(_inside(tensor, folder))
    contents = _contents(shell, target)  # too large: better said before the data are written
    if not moved:
        return _save_whole(contents, target, reads)
    with drafted(target) as data, drafted(target) as draft:
        digest = _stream(data.file, moved, folder)
        place = target.with_name(data_name(target, digest))
        for tensor in shell.graph.initializer:
            if is_external(tensor):
                next(e for e in tensor.external_data if e.key == "location").value = place.name
        contents = _contents(shell, target)
        draft.file.write(contents)
        _commit(draft, target, (data, place), reads)
    return Saved(target, hashlib.sha256(contents).hexdigest(), len(contents) + size, place, digest)


NOT_YET = "\0"  # stands for the name of a data file until its digest is known; no file can have it


def _contents(shell: ModelProto, target: Path) -> bytes:
    contents = _serialized(shell)
    if contents is None:
        raise UsageError(f"'{target}' would exceed 2 GiB; write it with external data")
    return contents


def _commit(draft: Draft, target: Path, data: tuple[Draft, Path] | None, reads: list[Path]) -> None:
    """Move new data, then the model, and only then remove data that only the old model needed."""
    draft.finish()
    if data is not None:
        data[0].finish()
    with alone(target.parent):
        new = data is not None and not lies_there(data[1])
        try:
            if data is not None and new:
                data[0].put(data[1])
            draft.put(target)
        except BaseException:  # an interrupt, too, leaves nothing that nobody needs
            if data is not None and new and draft.path.exists():  # the model was not moved
                data[1].unlink(missing_ok=True)
            raise
        for old in outdated(target):
            if not any(same_file(old, each) for each in reads):
                old.unlink(missing_ok=True)


def _inside(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """`tensor` with its data in itself."""
    copy = copied(tensor)
    if is_external(tensor):
        copy.ClearField("external_data")
        copy.ClearField("data_location")
        copy.raw_data = b"".join(_pieces(tensor, folder))
    return copy


def _stream(file: BinaryIO, tensors: list[tuple[TensorProto, int]], folder: Path | None) -> str:
    """Write tensors, each at its offset; the digest of all, as of a file without holes."""
    digest, at = hashlib.sha256(), 0
    for tensor, offset in tensors:
        digest.update(bytes(offset - at))
        file.seek(offset)
        at = offset
        for piece in _pieces(tensor, folder):
            digest.update(piece)
            at += len(piece)
            if ZEROS.startswith(piece):  # a hole reads the same and costs nothing
                file.seek(len(piece), os.SEEK_CUR)
            else:
                file.write(piece)
    file.truncate(file.tell())
    return digest.hexdigest()


def _pieces(tensor: TensorProto, folder: Path | None) -> Iterator[bytes]:
    """The raw data of a tensor, a chunk at a time where it lies in a file."""
    if not is_external(tensor):
        yield tensor.raw_data if tensor.HasField("raw_data") else _packed(tensor)
        return
    if folder is None:
        raise ReadError(
            f"tensor '{tensor.name}' keeps its data in another file and spa does not know in "
            "which folder; pass base_dir"
        )
    location, offset, _ = location_of(tensor)
    left = external_bytes(tensor)
    with data_file(folder, location, f"tensor '{tensor.name}'").open("rb") as source:
        source.seek(offset)
        while left > 0:
            piece = source.read(min(CHUNK, left))
            if not piece:
                raise ReadError(
                    f"the data file '{location}' ended while tensor '{tensor.name}' was copied; "
                    "do not change it while spa runs"
                )
            left -= len(piece)
            yield piece


def _packed(tensor: TensorProto) -> bytes:
    """The raw form of a tensor that holds its elements in typed fields."""
    from onnx import numpy_helper

    return numpy_helper.from_array(to_array(tensor)).raw_data
