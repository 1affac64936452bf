"""Top-1 accuracy and speed of ONNX classifiers, side by side: what did pruning cost, and bring?

    evaluate.py models/fashion.onnx pruned.onnx --data models/fashion_eval.npz

The first model is the one the others are compared with.  All are timed in turns, in one run, as
`spa bench` does, on one picture (or the batch that a model fixes) and --threads; with one thread
its own clock is read, so that a busy machine matters little.  Needs spa, onnxruntime and numpy.
The data is an .npz with `images` (uint8, N x C x H x W), `labels` (N) and `scale`: a model sees
`images / scale`.  Exit codes: 0 fine, 2 usage, 3 a file cannot be used, 5 a gate failed.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

import spa

BATCH = 250
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Row:
    """What one model did on the data."""

    path: Path
    bytes: int
    top1: float
    agreement: float  # share of images on which it says what the first model says
    speedup: float | None = None  # how many times as fast as the first model


class DataError(Exception):
    """A model or data file cannot be used; the message is one sentence."""


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images as a model wants them (float32) and their labels."""
    try:
        with np.load(path) as data:
            images = data["images"].astype(np.float32) / np.float32(data["scale"])
            labels = data["labels"].astype(np.int64)
    except UNREADABLE as error:
        raise DataError(f"{path} is not an evaluation set: {error}") from error
    if images.ndim != 4 or len(images) != len(labels) or len(images) == 0:
        raise DataError(f"{path}: images {images.shape} and labels {labels.shape} do not match.")
    return images, labels


def predict(model: Path | bytes, images: np.ndarray) -> np.ndarray:
    """The most likely class of every image."""
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), providers=["CPUExecutionProvider"]
    )
    (source,) = session.get_inputs()
    fixed = source.shape[0]  # a number when the model was exported for one batch size
    size = fixed if isinstance(fixed, int) else BATCH
    missing = -len(images) % size if isinstance(fixed, int) else 0
    padded = np.concatenate([images, np.zeros_like(images[:1]).repeat(missing, axis=0)])
    batches = (padded[at : at + size] for at in range(0, len(padded), size))
    logits = [session.run(None, {source.name: batch})[0] for batch in batches]
    classes: np.ndarray = np.concatenate(logits).argmax(axis=1)
    return classes[: len(images)]


def measure(paths: Sequence[Path], images: np.ndarray, labels: np.ndarray) -> list[Row]:
    """One row per model, in the order given."""
    rows: list[Row] = []
    first: np.ndarray | None = None
    for path in paths:
        try:
            said = predict(path, images)
        except Exception as error:  # onnxruntime's errors have no common class
            raise DataError(f"{path} cannot be evaluated: {error}") from error
        first = said if first is None else first
        rows.append(
            Row(path, path.stat().st_size, *(float(np.mean(said == by)) for by in (labels, first)))
        )
    return rows


def timed(rows: Sequence[Row], threads: int) -> list[Row]:
    """The rows with their speed-ups over the first model, which all take turns with.

    Raises:
        DataError: a model cannot be timed.
    """
    try:
        found = spa.bench([row.path for row in rows], threads=threads)["models"]
    except spa.SpaError as error:
        raise DataError(f"the models cannot be timed: {error}") from error
    return [replace(row, speedup=each["speedup"]) for row, each in zip(rows, found, strict=True)]


def _times(row: Row) -> str:
    return "–" if row.speedup is None else f"{row.speedup:.2f}x"


def table(rows: Sequence[Row]) -> str:
    """The rows as text; changes are in points against the first model."""
    width = max(5, *(len(str(row.path)) for row in rows))
    heads = "".join(f"  {head:>7}" for head in ("top-1", "change", "agrees", "speed"))
    lines = [f"{'model':<{width}}  {'bytes':>10}{heads}"]
    lines += [
        f"{row.path!s:<{width}}  {row.bytes:>10,}  {row.top1:>7.2%}"
        f"  {100 * (row.top1 - rows[0].top1):>+7.2f}  {row.agreement:>7.2%}"
        f"  {_times(row):>7}"
        for row in rows
    ]
    return "\n".join(lines)


def failures(rows: Sequence[Row], min_top1: float | None, max_drop: float | None) -> list[str]:
    """One sentence for every gate that a model did not pass."""
    said = []
    for row in rows:
        if min_top1 is not None and row.top1 < min_top1:
            said.append(f"{row.path}: top-1 {row.top1:.2%} is below {min_top1:.2%}.")
        drop = rows[0].top1 - row.top1
        if max_drop is not None and drop > max_drop:
            said.append(f"{row.path}: top-1 fell by {drop:.2%}, more than {max_drop:.2%}.")
    return said


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code says whether the gates were passed."""
    parser = argparse.ArgumentParser(description="Top-1 and speed of classifiers, side by side.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--data", required=True, type=Path, help="evaluation set (.npz)")
    parser.add_argument("--min-top1", type=share, help="every model needs this share, e.g. 0.9")
    parser.add_argument("--max-drop", type=share, help="allowed loss against the first, e.g. 0.01")
    parser.add_argument("--threads", type=int, default=1, help="that models are timed with")
    options = parser.parse_args(arguments)
    try:
        rows = timed(measure(options.models, *load(options.data)), options.threads)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(table(rows))
    failed = failures(rows, options.min_top1, options.max_drop)
    for sentence in failed:
        print(f"failed: {sentence}", file=sys.stderr)
    return 5 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
