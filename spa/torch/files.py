"""Checkpoints that only torch can read: `.pt` files, and safetensors of types that numpy lacks."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spa.torch.values import array_of

Arrays = Mapping[str, np.ndarray]
Write = Callable[[Arrays], bytes]


def pickled(path: Path) -> tuple[Arrays, Write]:
    """The tensors of a `torch.save` file by name, and what makes such a file of others.

    Names of tensors in dictionaries inside the file are joined with dots.  Only tensors and plain
    values are read, never code.
    """
    held = torch.load(path, map_location="cpu", weights_only=True)
    tensors = dict(_tensors(held, ()))

    def write(arrays: Arrays) -> bytes:
        new = {place: _like(arrays[".".join(place)], old) for place, old in tensors.items()}
        made = io.BytesIO()
        torch.save(_replaced(held, (), new), made)
        return made.getvalue()

    return {".".join(place): array_of(tensor) for place, tensor in tensors.items()}, write


def safetensors(path: Path) -> tuple[Arrays, Write]:
    """The same of a safetensors file; metadata stay."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()

    def write(arrays: Arrays) -> bytes:
        return save({n: _like(arrays[n], t) for n, t in tensors.items()}, metadata)

    return {name: array_of(tensor) for name, tensor in tensors.items()}, write


def _tensors(held: Any, place: tuple[str, ...]) -> list[tuple[tuple[str, ...], Tensor]]:
    if isinstance(held, Tensor):
        return [(place, held)]
    if not isinstance(held, Mapping):
        return []
    return [each for key, value in held.items() for each in _tensors(value, (*place, str(key)))]


def _replaced(held: Any, place: tuple[str, ...], new: Mapping[tuple[str, ...], Tensor]) -> Any:
    if isinstance(held, Tensor):
        return new.get(place, held)
    if not isinstance(held, Mapping):
        return held
    copy = type(held)()
    for key, value in held.items():
        copy[key] = _replaced(value, (*place, str(key)), new)  # type: ignore[index]
    return copy


def _like(array: np.ndarray, old: Tensor) -> Tensor:
    """An array as a tensor of the type of another one."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array, order="C")).to(old.dtype)
