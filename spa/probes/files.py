"""Inputs from files: .npz, .npy, or a folder of pictures or of .npy files.

Arrays are taken as what the model sees, but for bytes, which are pixels and get the model's range.
Layout and size of pictures are adapted; what is no input is not looked at here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError, UsageError, install
from spa.probes.pictures import COLOURS, Picture
from spa.probes.scale import Scale

Array = NDArray[Any]

USUAL = ("images", "x", "X", "data", "input", "inputs", "arr_0")
"""Keys under which files keep the only input of a model."""
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"))
MOST = 4096  # files of a folder that are read, in the order of their names


@dataclass(frozen=True)
class Data:
    """Arrays of rows by key, or pictures of different sizes; `scale` divides bytes."""

    arrays: Mapping[str, Array]
    pictures: tuple[Array, ...] = ()
    scale: float | None = None


def load(path: str | Path) -> Data:
    """Read a file or a folder.

    Raises:
        UsageError: there is no such file, or nothing in it that could be used.
        ReadError: a file is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no '{path}'; give a .npz, a .npy or a folder of pictures")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".npy":
        return Data({"": _readable(_array(path), path)})
    if path.suffix != ".npz":
        raise UsageError(f"'{path}' is no .npz, .npy or folder; give one of these as inputs")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ReadError(f"'{path}' cannot be read as .npz ({error}); write it again") from error
    scale = arrays.pop("scale", None)
    found = {key: value for key, value in arrays.items() if value.ndim}
    return Data(found, scale=None if scale is None or scale.size != 1 else float(scale.item()))


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ReadError(f"'{path}' cannot be read as .npy ({error}); write it again") from error


def _readable(array: Array, path: Path) -> Array:
    if not array.ndim:
        raise UsageError(f"'{path}' holds a single number; give an array of inputs, one per row")
    return array


def _folder(path: Path) -> Data:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    arrays = [file for file in files if file.suffix == ".npy"][:MOST]
    pictures = [file for file in files if file.suffix.lower() in PICTURES][:MOST]
    if pictures:
        return Data({}, tuple(_open(file) for file in pictures))
    if not arrays:
        raise UsageError(f"folder '{path}' holds no pictures and no .npy; give one that does")
    rows = [_array(file) for file in arrays]
    if len({row.shape for row in rows}) > 1:
        odd = next(f for f, row in zip(arrays, rows, strict=True) if row.shape != rows[0].shape)
        raise UsageError(f"'{odd}' has another shape than '{arrays[0]}'; give arrays of one shape")
    return Data({"": np.stack(rows)})


def _open(path: Path) -> Array:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise UsageError(
            f"pictures need Pillow; install it with {install('images')} or give a .npz"
        ) from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ReadError(f"'{path}' is not a picture that can be read; remove it") from error


def pick(data: Data, name: str, alone: bool, rank: int) -> Array | None:
    """The array meant for the input `name`, or None; `alone` if unnamed data can only be for it."""
    if name in data.arrays:
        return data.arrays[name]
    if not alone:
        return None
    for key in (*USUAL, ""):
        if key in data.arrays:
            return data.arrays[key]
    fitting = [array for array in data.arrays.values() if array.ndim == rank]
    return fitting[0] if len(fitting) == 1 else None


def as_pictures(
    source: Sequence[Array] | Array, picture: Picture, scale: Scale, divisor: float | None
) -> Callable[[Iterable[int]], NDArray[np.float32]]:
    """From rows to `[rows, channels, height, width]` in the model's range."""

    def rows(wanted: Iterable[int]) -> NDArray[np.float32]:
        return np.stack([one(np.asarray(source[row % len(source)])) for row in wanted])

    def one(array: Array) -> NDArray[np.float32]:
        byte = array.dtype.kind in "iu"
        pixels = _fit(_channels_first(array, picture).astype(np.float32), picture)
        if not byte:
            return pixels
        if divisor is not None:
            return np.asarray(pixels / np.float32(divisor), np.float32)
        return np.asarray(scale(pixels[None] / np.float32(255), 1)[0])

    return rows


def _channels_first(array: Array, picture: Picture) -> Array:
    """A picture of any layout as `[channels, height, width]` with the channels wanted."""
    if array.ndim == 1 and array.size == picture.channels * picture.height * picture.width:
        array = array.reshape(picture.channels, picture.height, picture.width)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3:
        front, back = array.shape[0], array.shape[-1]
        leading = front == picture.channels and (not picture.last or back != picture.channels)
        if not leading and (back == picture.channels or (back in COLOURS and front not in COLOURS)):
            array = np.moveaxis(array, -1, 0)
    if array.ndim != 3:
        raise UsageError(
            f"pictures of shape {array.shape} fit no input of {picture.channels} channels; "
            "give [rows, channels, height, width] or [rows, height, width, channels]"
        )
    if len(array) == 4 and picture.channels in (1, 3):
        array = array[:3]
    if len(array) == picture.channels:
        return array
    if len(array) == 3 and picture.channels == 1:
        grey = np.tensordot(np.array([0.299, 0.587, 0.114]), array.astype(np.float64), 1)[None]
        return grey if array.dtype.kind == "f" else np.rint(grey).astype(array.dtype)
    if len(array) == 1:
        return np.repeat(array, picture.channels, 0)
    raise UsageError(
        f"pictures of {len(array)} channels do not fit an input of {picture.channels}; convert them"
    )


def _fit(array: NDArray[np.float32], picture: Picture) -> NDArray[np.float32]:
    """Cut the middle to the right proportions, then shrink or enlarge it."""
    height, width = array.shape[1:]
    if (height, width) == (picture.height, picture.width):
        return array
    share = min(height / picture.height, width / picture.width)
    tall = max(1, min(height, round(picture.height * share)))
    wide = max(1, min(width, round(picture.width * share)))
    top, left = (height - tall) // 2, (width - wide) // 2
    cut = array[:, top : top + tall, left : left + wide]
    down, across = _weights(tall, picture.height), _weights(wide, picture.width)
    return np.asarray(down @ cut @ across.T, np.float32)


def _weights(size: int, wanted: int) -> NDArray[np.float32]:
    """Linear interpolation `[wanted, size]`, over as many pixels as one new pixel covers."""
    ratio = size / wanted
    centres = (np.arange(wanted) + 0.5) * ratio - 0.5
    reach = max(1.0, ratio)
    weights = np.maximum(0, 1 - np.abs(np.arange(size)[None] - centres[:, None]) / reach)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
