"""How good a model is: top-1 of classifiers, Spearman of sentence encoders, against the dense one.

Every figure comes with its standard error over the rows that were scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from accuracy.data import Pairs, Pictures, padded

BATCH = 100
DRAWS = 200
"""Bootstrap samples behind the standard error of a correlation."""


def session(model: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def input_of(loaded: onnxruntime.InferenceSession) -> tuple[str, list[Any]]:
    """Name and shape of the only input.

    Raises:
        ValueError: there are several.
    """
    inputs = loaded.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"the model has {len(inputs)} inputs, a classifier of pictures has one")
    return inputs[0].name, inputs[0].shape


def batches(count: int, fixed: Any) -> Iterator[tuple[np.ndarray, int]]:
    """Positions of rows that run together, and how many of them count."""
    size = fixed if isinstance(fixed, int) else BATCH
    for at in range(0, count, size):
        rows = np.arange(at, min(at + size, count))
        short = size - len(rows) if isinstance(fixed, int) else 0
        yield np.concatenate([rows, np.full(short, at)]), len(rows)


def classes(model: Path, data: Pictures, index: np.ndarray, threads: int = 0) -> np.ndarray:
    """The most likely class of every picture, int64 `[index]`."""
    loaded = session(model, threads)
    name, shape = input_of(loaded)
    found = [
        loaded.run(None, {name: data.rows(index[rows])})[0].argmax(-1)[:real]
        for rows, real in batches(len(index), shape[0])
    ]
    return np.concatenate(found)


def embeddings(model: Path, rows: list[list[int]], threads: int = 0) -> np.ndarray:
    """Sentences as unit vectors, float64 `[rows, width]`; sentences alike in length run together.

    The first output with a vector per token is averaged over the tokens; where there is none, the
    first matrix of floats is taken.

    Raises:
        ValueError: there is no such output.
    """
    loaded = session(model, threads)
    many, longest = (n if isinstance(n, int) else None for n in loaded.get_inputs()[0].shape[:2])
    order = np.argsort([len(row) for row in rows], kind="stable")
    found: np.ndarray | None = None
    for at in range(0, len(rows), many or 64):
        chunk = order[at : at + (many or 64)]
        here = [rows[k][:longest] for k in chunk]
        ids = padded(here + here[-1:] * ((many or 0) - len(here)), longest)
        lengths = np.asarray([[len(row)] for row in here + here[-1:] * (len(ids) - len(here))])
        mask = (np.arange(ids.shape[1]) < lengths).astype(np.int64)
        out = _vectors(loaded.run(None, encoded(loaded, ids, mask)))
        if out.ndim == 3:
            out = (out * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        found = np.zeros((len(rows), out.shape[1])) if found is None else found
        out = out[: len(chunk)]
        found[chunk] = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
    return np.zeros((0, 0)) if found is None else found


def _vectors(outputs: list[Any]) -> np.ndarray:
    floats = [each for each in outputs if getattr(each, "dtype", np.dtype(bool)).kind == "f"]
    found = [each for rank in (3, 2) for each in floats if each.ndim == rank]
    if not found:
        raise ValueError("no output is a vector per sentence or per token")
    first: np.ndarray = found[0]
    return first


def encoded(
    loaded: onnxruntime.InferenceSession, ids: np.ndarray, mask: np.ndarray
) -> dict[str, np.ndarray]:
    """What a sentence encoder is fed, by the names its inputs usually have."""
    return {
        each.name: mask if "mask" in each.name else ids * 0 if "type" in each.name else ids
        for each in loaded.get_inputs()
    }


def score_pictures(
    dense: Path, pruned: Path, data: Pictures, index: np.ndarray, threads: int = 0
) -> dict[str, float]:
    """Top-1, the change against the dense model, and how often they say the same."""
    before = classes(dense, data, index, threads)
    after = before if pruned == dense else classes(pruned, data, index, threads)
    labels, count = data.labels[index], len(index)
    change = (after == labels).astype(float) - (before == labels)
    share = float(np.mean(after == labels))
    return {
        "score": share,
        "se": float(np.sqrt(share * (1 - share) / count)),
        "change": float(change.mean()),
        "change_se": float(change.std() / np.sqrt(count)),
        "agreement": float(np.mean(after == before)),
        "rows": count,
    }


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def score_pairs(
    dense: Path, pruned: Path, data: Pairs, index: np.ndarray, threads: int = 0
) -> dict[str, float]:
    """Spearman with people's scores, the change, and the mean cosine to the dense vectors."""
    sides = [[rows[k] for k in index] for rows in (data.first, data.second)]
    before = [embeddings(dense, rows, threads) for rows in sides]
    after = before if pruned == dense else [embeddings(pruned, rows, threads) for rows in sides]
    alike = [(a * b).sum(1) for a, b in (before, after)]
    wanted = data.scores[index]
    rng = np.random.default_rng(0)
    draws = [
        [spearman(each[rows], wanted[rows]) for each in alike]
        for rows in rng.integers(0, len(index), (DRAWS, len(index)))
    ]
    first, second = np.transpose(draws)
    score, whole = spearman(alike[1], wanted), spearman(alike[0], wanted)
    same = np.concatenate([(a * b).sum(1) for a, b in zip(before, after, strict=True)])
    return {
        "score": score,
        "se": float(second.std()),
        "change": score - whole,
        "change_se": float((second - first).std()),
        "agreement": float(same.mean()),
        "rows": len(index),
    }


SCORES: Mapping[str, Callable[..., dict[str, float]]] = {
    "pictures": score_pictures,
    "pairs": score_pairs,
}
