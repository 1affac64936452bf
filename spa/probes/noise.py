"""Plain noise: the control that other inputs have to beat, and the answer to `kind=`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.probes.probe import generator

MEAN, SPREAD = 0.45, 0.225
"""Of the pixels of photographs, which Gaussian noise is given."""


def uniform(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """U(0, 1), `[rows, *shape]`."""
    drawn = [generator(seed, name, row).random(shape, np.float32) for row in rows]
    return np.stack(drawn) if drawn else np.zeros((0, *shape), np.float32)


def gaussian(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """Normal pixels with the mean and the spread of photographs, `[rows, *shape]`."""
    drawn = [generator(seed, name, row).standard_normal(shape, np.float32) for row in rows]
    found = np.stack(drawn) if drawn else np.zeros((0, *shape), np.float32)
    return np.asarray(MEAN + SPREAD * found, np.float32)
