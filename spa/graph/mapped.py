"""Large weights of a model file where they lie: protobuf hands out copies, a map does not."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

GRAPH, INITIALIZER, NAME, RAW_DATA = 7, 5, 8, 9
"""Field numbers of onnx.proto: of ModelProto, GraphProto and (two) TensorProto."""

LEAST = 1 << 15  # bytes from which on a tensor is worth looking for in the file
Span = tuple[int, int]
State = tuple[int, ...]


class Mapped:
    """A model file that stays mapped as long as somebody may want its weights.

    `state` is what `state_of` said of the file when it was mapped.
    """

    def __init__(self, path: Path, state: State, data: mmap.mmap) -> None:
        self._path, self._state, self._data = os.fspath(path), state, data
        self._spans = spans(memoryview(data), LEAST)

    def array(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray | None:
        """An initializer as a read-only array, or None if it is not to be had from the file.

        The array may be unaligned.  A file that was changed since it was read is not looked at.
        """
        begin, end = self._spans.get(name, (0, 0))
        if end - begin != dtype.itemsize * prod(shape) or end == begin:
            return None
        try:
            if state_of(self._path) != self._state:
                return None
        except OSError:
            return None
        return np.ndarray(shape, dtype, self._data, begin)


def state_of(file: Path | str | int) -> State:
    """What changes when a file, given by its path or as a handle, is changed or replaced."""
    found = os.stat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def spans(data: memoryview, least: int) -> dict[str, Span]:
    """Where the raw data of the main graph's initializers of `least` bytes and more lies.

    Reads no more of protobuf's format than lengths and numbers of fields; where a file is written
    in another way than ONNX files are, nothing is found.
    """
    found: dict[str, Span] = {}
    try:
        for graph in _fields(data, (0, len(data)), GRAPH):
            for tensor in _fields(data, graph, INITIALIZER):
                if tensor[1] - tensor[0] < least:
                    continue
                names = [bytes(data[a:b]).decode() for a, b in _fields(data, tensor, NAME)]
                raw = list(_fields(data, tensor, RAW_DATA))
                if len(names) != 1 or len(raw) != 1 or names[0] in found:
                    return {}
                found[names[0]] = raw[0]
    except (ValueError, IndexError):
        return {}
    return found


def _fields(data: memoryview, span: Span, wanted: int) -> Iterator[Span]:
    """The contents of the fields of one number in a message."""
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(data, at)
            if size > end - at:
                raise ValueError("a field that is longer than its message")
            if key >> 3 == wanted:
                yield at, at + size
            at += size
        else:
            raise ValueError(f"a field of kind {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
    raise ValueError("a number that does not end")
