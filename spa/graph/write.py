"""Writing: all of a file or nothing, never over the input, beyond 2 GiB with external data."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, TensorProto

from spa.errors import ReadError, UsageError
from spa.graph.tensors import (
    bits_of,
    data_file,
    external_bytes,
    is_external,
    location_of,
    raw_bytes,
    shell_of,
    tensors_of,
    to_array,
)

LARGEST_FILE = (1 << 31) - (1 << 20)
"""Bytes that a model file may have: protobuf ends at 2 GiB."""

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


def save(
    model: ModelProto,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    base_dir: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    external: bool | None = None,
) -> Saved:
    """Write `model` to `path` atomically; the model itself is not changed.

    Args:
        model: what to write.
        path: where to; external data goes to `path` + ".data".
        force: whether an existing file may be replaced.
        base_dir: the folder that external data in `model` is relative to.
        source: the file that `model` was read from, which is never replaced.
        external: whether to write external data; by default if the model has some or is too
            large for one file.

    Raises:
        UsageError: the file exists, is the source, or cannot be written.
    """
    target = Path(path)
    folder = None if base_dir is None else Path(base_dir)
    outside = [tensor for tensor, _ in tensors_of(model) if is_external(tensor)]
    data = target.with_name(f"{target.name}.data")
    _check_target(target, force, source)
    contents = None
    if not external and not outside:
        contents = _serialized(model)
    if external is None:
        external = contents is None
    if external:
        _check_target(data, force, source)
        for location in {location_of(tensor)[0] for tensor in outside}:
            _check_target(data, force, None if folder is None else folder / location)
    try:
        if contents is None:
            return _save_parts(model, target, data if external else None, folder)
        _write(target, lambda file: _put(file, contents))
    except OSError as error:
        raise UsageError(
            f"cannot write '{target}' ({error.strerror or error}); "
            "choose another output or make room there"
        ) from error
    return Saved(target, hashlib.sha256(contents).hexdigest(), len(contents))


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


def _check_target(target: Path, force: bool, source: str | os.PathLike[str] | None) -> None:
    if not target.parent.is_dir():
        raise UsageError(
            f"cannot write '{target}': the folder '{target.parent}' does not exist; create it first"
        )
    if target.is_dir():
        raise UsageError(f"cannot write '{target}': it is a folder; name a file in it")
    if source is not None and _same_file(target, source):
        raise UsageError(f"'{target}' is the input and is never changed; choose another output")
    if not force and (target.exists() or target.is_symlink()):
        raise UsageError(f"'{target}' already exists; choose another output or pass --force")


def _same_file(one: Path, other: str | os.PathLike[str]) -> bool:
    return one.exists() and os.path.exists(other) and os.path.samefile(one, other)


def _save_parts(model: ModelProto, target: Path, data: Path | None, folder: Path | None) -> Saved:
    """Write the model and, if `data` is given, its large tensors beside it."""
    shell = shell_of(model)
    moved: list[TensorProto] = []
    size = 0
    for tensor in model.graph.initializer:
        length = raw_bytes(tensor)
        if data is None or length < SMALLEST_EXTERNAL or bits_of(tensor.data_type) == 0:
            shell.graph.initializer.append(_inside(tensor, folder))
            continue
        size += -size % (4096 if length >= 1 << 20 else 64)
        stub = shell.graph.initializer.add(
            name=tensor.name,
            data_type=tensor.data_type,
            dims=tensor.dims,
            doc_string=tensor.doc_string,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", data.name), ("offset", size), ("length", length)):
            stub.external_data.add(key=key, value=str(value))
        moved.append(tensor)
        size += length
    for tensor, _ in tensors_of(shell):
        if is_external(tensor) and (data is None or location_of(tensor)[0] != data.name):
            tensor.CopyFrom(_inside(tensor, folder))
    contents = _serialized(shell)
    if contents is None:
        raise UsageError(f"'{target}' would exceed 2 GiB; write it with external data")
    stubs = [tensor for tensor in shell.graph.initializer if is_external(tensor)]
    if data is not None and moved:
        offsets = [location_of(stub)[1] for stub in stubs]
        _write(data, lambda file: _stream(file, moved, offsets, folder))
    _write(target, lambda file: _put(file, contents))
    return Saved(
        target,
        hashlib.sha256(contents).hexdigest(),
        len(contents) + size,
        data if data is not None and moved else None,
    )


def _inside(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """`tensor` with its data in itself."""
    copy = TensorProto()
    copy.CopyFrom(tensor)
    if is_external(tensor):
        copy.ClearField("external_data")
        copy.ClearField("data_location")
        copy.raw_data = b"".join(_pieces(tensor, folder))
    return copy


def _stream(
    file: BinaryIO, tensors: list[TensorProto], offsets: list[int], folder: Path | None
) -> None:
    for tensor, offset in zip(tensors, offsets, strict=True):
        file.seek(offset)
        for piece in _pieces(tensor, folder):
            if ZEROS.startswith(piece):  # a hole reads the same and costs nothing
                file.seek(len(piece), os.SEEK_CUR)
            else:
                file.write(piece)
    file.truncate(file.tell())


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


def _put(file: BinaryIO, contents: bytes) -> None:
    file.write(contents)


def _write(target: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Let `fill` write a new file beside `target` and move it there once it is on the disk."""
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    # Unlike `tempfile`, `os.open` gives the file the permissions that the user's umask asks for.
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupt, too, leaves nothing behind
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # not every file system lets a folder be synced
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
