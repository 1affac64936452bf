"""Inputs that were moved, kept in the user's cache beside latencies: making them takes minutes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from spa.errors import UsageError
from spa.graph import Graph
from spa.storage import cache_folder, replaced
from spa.storage.arrays import npz
from spa.torch.invert import Feeds, Inverted, Told
from spa.torch.workload import Work

FORMAT = 1
MOST = 1 << 30
"""Bytes of inputs that the cache may hold."""


def place_of(
    graph: Graph, feeds: Feeds, told: Told, work: Work, settings: Sequence[object]
) -> Path | None:
    """Where the cache has what is made of some inputs: the name tells all that decides it.

    None where nothing is kept: there is no cache, or data files beside the model, which its digest
    does not count.
    """
    folder = cache_folder()
    if folder is None or graph.source.external:
        return None
    said = (FORMAT, torch.__version__, graph.source.sha256, work, told.weights, *settings)
    key = hashlib.sha256(repr(said).encode())
    for feed in feeds:
        for name, x in feed.items():
            key.update(repr((name, x.shape, x.dtype.str)).encode())
            key.update(np.ascontiguousarray(x).tobytes())
    return folder / f"inverted-{key.hexdigest()[:32]}.npz"


def kept(place: Path | None, told: Told) -> Inverted | None:
    """What is there; None where it is nothing, or damaged."""
    if place is None or not place.is_file():
        return None
    try:
        with place.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            inputs = file["inputs"].astype(told.dtype)
            steps, complete = (int(n) for n in file["counts"])
            before, after = (float(n) for n in file["misfits"])
            words = str(file["words"])
    except Exception:  # whatever is wrong with a file of the cache, it can be made again
        return None
    if inputs.shape[1:] != told.shape[1:]:
        return None
    return Inverted(told.moved, inputs, steps, before, after, words, bool(complete))


def remember(place: Path, made: Inverted) -> None:
    """Keep it; what cannot be kept costs time, not the run."""
    told: Mapping[str, np.ndarray] = {
        "inputs": made.inputs.astype(np.float16),
        "counts": np.array([made.steps, int(made.complete)]),
        "misfits": np.array([made.before, made.after]),
        "words": np.array(made.words),
    }
    contents = npz(told)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _make_room(place.parent, len(contents))
        replaced(place, contents, "inputs", "they are made again")
    except (OSError, UsageError):
        return


def _make_room(folder: Path, size: int) -> None:
    """Remove the oldest inputs until there is room for more."""
    known = sorted(folder.glob("inverted-*.npz"), key=lambda path: path.stat().st_mtime)
    total = size + sum(path.stat().st_size for path in known)
    for path in known:
        if total <= MOST:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
