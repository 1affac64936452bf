"""Classes of the inputs that a person gives, in the order in which runs take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError, UsageError
from spa.executor.survey import Runs
from spa.pipeline.values import Given
from spa.probes import Data, Probe
from spa.probes.held import ONLY, labels_held
from spa.recipe import Held, Recipe

Array = NDArray[Any]
BESIDE = ("labels", "label", "y", "targets")
"""Names under which a file of inputs may hold their classes."""


def labels_of(given: object, available: int | None) -> Array:
    """Classes of all rows of `--calib`, int64 `[rows]`.

    Args:
        given: arrays of a caller, or the path of a .npy or .npz file that holds one.
        available: how many rows there are; None where they are made up.

    Raises:
        UsageError: they are no classes, or not as many as there are inputs.
        ReadError: the file cannot be read.
    """
    if available is None:
        raise UsageError("--labels are those of inputs that are given; add --calib FILE")
    held = labels_held(given)
    found = held.parts[0][ONLY] if isinstance(held, Held) else _read(str(held))
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(
            f"--labels are whole numbers, one per input, not {found.dtype} {list(found.shape)}"
        )
    if len(found) != available:
        raise UsageError(
            f"--labels holds {len(found)} and --calib {available} inputs; give one label for each"
        )
    return np.asarray(found, np.int64)


def known_labels(
    recipe: Recipe, given: Given, available: int | None
) -> tuple[NDArray[np.int64], str] | None:
    """Classes of all rows that can be had, and where they are from; None where there are none.

    Those of `labels`, or else what stands beside the inputs in the file of `calib` under a usual
    name, as whole numbers, one for each row.
    """
    if recipe.labels is not None:
        return labels_of(recipe.labels, available), str(recipe.labels)
    beside = given.arrays if isinstance(given, Data) and available is not None else {}
    for name in BESIDE:
        found = beside.get(name)
        if found is not None and found.dtype.kind in "iu" and found.shape == (available,):
            return found.astype(np.int64), f"'{name}' of {recipe.calib}"
    return None


def by_run(
    labels: NDArray[np.int64], probe: Probe, rows: Sequence[int], runs: Runs
) -> tuple[NDArray[np.int64], ...]:
    """The classes of the rows of each of the runs that `Probe.runs` makes of `rows`."""
    ends = np.cumsum([probe.held(run) for run in runs])
    return tuple(np.split(in_order(labels, probe, rows), ends[:-1]))


def in_order(labels: NDArray[np.int64], probe: Probe, rows: Sequence[int]) -> NDArray[np.int64]:
    """The classes of `rows`, as `Probe.runs` orders them."""
    return labels[np.asarray(probe.ordered(rows), np.int64) % len(labels)]


def _read(path: str) -> Array:
    try:
        found = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(f"--labels {path} cannot be read; give a .npy or .npz file") from error
    if isinstance(found, np.ndarray):
        return found
    if len(found.files) != 1:
        names = ", ".join(found.files)
        raise UsageError(f"--labels {path} holds {names or 'nothing'}; give a file of one array")
    return np.asarray(found[found.files[0]])
