"""Plain noise: the control that other inputs have to beat, and the answer to `kind=`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.probes.probe import generator, inputs

MEAN, SPREAD = 0.45, 0.225
"""Of the pixels of photographs, which Gaussian noise is given."""


@inputs(noun="uniform noise")
def uniform(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """Pictures of uniform noise."""
    drawn = [generator(seed, name, row).random(shape, np.float32) for row in rows]
    return np.stack(drawn) if drawn else np.zeros((0, *shape), np.float32)


@inputs(noun="Gaussian noise")
def gaussian(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """Pictures of normal noise, with the mean and the spread of photographs."""
    drawn = [generator(seed, name, row).standard_normal(shape, np.float32) for row in rows]
    found = np.stack(drawn) if drawn else np.zeros((0, *shape), np.float32)
    return np.asarray(MEAN + SPREAD * found, np.float32)
