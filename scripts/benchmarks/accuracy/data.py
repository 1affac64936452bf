"""Evaluation data: pictures with labels, pairs of sentences, and the one split of either.

Nothing here is chosen by looking at results: the split is a fixed permutation of the rows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PERMUTATION = 20260101
"""Seed of the split, never to be changed: it says which rows are for tuning."""

TORCHVISION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SHORTER = 256 / 224
"""Pictures are scaled until their shorter side is this many times the model's input."""


def split(count: int, part: str, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are scored and rows that may be fitted on, int64 `[n]` each, never the same.

    Args:
        count: how many rows there are.
        part: "report", "dev" (the tuning part) or "all", where nothing is left to fit on.
        share: of the rows that belong to the reporting part.
    """
    order = np.random.default_rng(PERMUTATION).permutation(count)
    at = count - round(share * count)
    dev, report = np.sort(order[:at]), np.sort(order[at:])
    if part == "all":
        return np.arange(count), np.zeros(0, np.int64)
    return (report, dev) if part == "report" else (dev, report)


@dataclass(frozen=True)
class Pictures:
    """Pictures (uint8 `[n, h, w, c]`), labels (int64 `[n]`) and what a model sees of them."""

    images: np.ndarray
    labels: np.ndarray
    scale: float
    mean: np.ndarray
    std: np.ndarray
    first: bool  # the model wants the channels first

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """What the model sees of some pictures, float32 `[rows, c, h, w]` or `[rows, h, w, c]`."""
        pixels = self.images[index].astype(np.float32) / np.float32(self.scale)
        pixels = (pixels - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if self.first else pixels)


def pictures(
    path: Path,
    shape: Sequence[Any],
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    scale: float | None = None,
    classes: Path | None = None,
) -> Pictures:
    """Read pictures and labels for a model whose input has this shape.

    Args:
        path: .npz (`x` or `images`, `y` or `labels`, perhaps `scale`), .parquet (`jpeg`, `label`)
            or a folder with one folder of pictures per class.
        shape: of the model's input, four entries; the batch may be open.
        mean: subtracted from `pixels / scale`.
        std: divides what is left.
        scale: divides bytes; by default what the file says, else 255.
        classes: for a folder that lacks classes: the folders' names, one a line, in the order of
            the model's classes; by default the folders in order of their names.

    Raises:
        ValueError: the file is none of these, or the model takes no pictures.
    """
    if len(shape) != 4:
        raise ValueError(f"the model's input {list(shape)} is not a picture")
    first = shape[1] in (1, 3)
    size = shape[2] if first else shape[1]
    own: float | None = None
    if path.is_dir():
        images, labels = _folder(path, classes)
    elif path.suffix == ".parquet":
        images, labels = _parquet(path)
    else:
        images, labels, own = _npz(path)
    stack = np.stack([_fit(image, size) for image in images])
    if len(stack) == 0 or len(stack) != len(labels):
        raise ValueError(f"{path} has {len(stack)} pictures and {len(labels)} labels")
    divide = scale or own or 255.0
    return Pictures(
        stack, np.asarray(labels, np.int64), divide,
        np.asarray(mean, np.float32), np.asarray(std, np.float32), first,
    )  # fmt: skip


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray, float | None]:
    with np.load(path, allow_pickle=False) as data:
        keys = set(data.files)
        image = "x" if "x" in keys else "images"
        label = "y" if "y" in keys else "labels"
        if not {image, label} <= keys:
            raise ValueError(f"{path} has {sorted(keys)} and not x and y, or images and labels")
        images, labels = data[image], data[label]
        own = float(data["scale"]) if "scale" in keys else None
    if images.ndim == 3:
        images = images[..., None]
    elif images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    return images, labels, own


def _parquet(path: Path) -> tuple[list[np.ndarray], list[int]]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    images = [_decode(io.BytesIO(data)) for data in table["jpeg"].to_pylist()]
    return images, table["label"].to_pylist()


def _folder(path: Path, classes: Path | None) -> tuple[list[np.ndarray], list[int]]:
    names = sorted(each.name for each in path.iterdir() if each.is_dir())
    order = names if classes is None else classes.read_text(encoding="utf-8").split()
    files = [(f, order.index(name)) for name in names for f in sorted((path / name).iterdir())]
    return [_decode(file) for file, _ in files], [label for _, label in files]


def _decode(file: Any) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _fit(image: np.ndarray, size: Any) -> np.ndarray:
    """The picture, or where its size is not the model's, the middle of a scaled one."""
    if not isinstance(size, int) or image.shape[:2] == (size, size):
        return image
    from PIL import Image

    height, width = image.shape[:2]
    by = round(size * SHORTER) / min(height, width)
    wide, high = round(width * by), round(height * by)
    flat = image[..., 0] if image.shape[2] == 1 else image
    scaled = np.asarray(Image.fromarray(flat).resize((wide, high), Image.Resampling.BILINEAR))
    top, left = (high - size) // 2, (wide - size) // 2
    cut = scaled[top : top + size, left : left + size]
    return cut if cut.ndim == 3 else cut[..., None]


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences as token ids and how alike people find them (float64 `[n]`)."""

    first: list[list[int]]
    second: list[list[int]]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def pairs(path: Path, tokenizer: Path | None) -> Pairs:
    """Read pairs of sentences.

    Args:
        path: .parquet (`s1`, `s2`, `score`), or .npz as `store` writes it.
        tokenizer: a tokenizer.json; not needed for .npz.

    Raises:
        ValueError: there is no tokenizer for text.
    """
    if path.suffix == ".npz":
        with np.load(path) as data:
            cut = [np.split(data[k], np.cumsum(data[f"{k}_length"])[:-1]) for k in ("s1", "s2")]
            return Pairs(*([list(map(int, r)) for r in rows] for rows in cut), data["score"])
    if tokenizer is None:
        raise ValueError(f"{path} is text: give --tokenizer tokenizer.json")
    from pyarrow import parquet
    from tokenizers import Tokenizer

    table = parquet.read_table(path)
    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_padding()
    sides = [
        [each.ids for each in reader.encode_batch(table[key].to_pylist())] for key in ("s1", "s2")
    ]
    return Pairs(*sides, np.asarray(table["score"].to_pylist(), np.float64))


def store(data: Pairs, path: Path) -> None:
    """Write pairs as .npz, so that neither tokenizers nor pyarrow is needed to read them."""
    arrays: dict[str, np.ndarray] = {"score": data.scores}
    for key, rows in (("s1", data.first), ("s2", data.second)):
        arrays[key] = np.concatenate([np.asarray(row, np.int32) for row in rows])
        arrays[f"{key}_length"] = np.asarray([len(row) for row in rows], np.int32)
    np.savez_compressed(path, **arrays)


def padded(rows: Sequence[Sequence[int]], width: int | None = None) -> np.ndarray:
    """Token ids of sentences with 0 where they end, int64 `[rows, longest]`."""
    longest = width or max(map(len, rows))
    found = np.zeros((len(rows), longest), np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = ids[:longest]
    return found
