"""Plain noise: the control that other pictures have to beat, and what all unknown inputs get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.probes.probe import generator, inputs

MEAN, SPREAD = 0.45, 0.225  # of the pixels of photographs, which Gaussian noise is given
Floats = NDArray[np.float32]


def drawn(
    rows: Sequence[int],
    shape: tuple[int, ...],
    seed: int,
    name: str,
    one: Callable[[np.random.Generator], NDArray[Any]],
) -> NDArray[Any]:
    """What `one` makes of the random generator of every row, `[rows, *shape]`."""
    found = [one(generator(seed, name, row)) for row in rows]
    return np.stack(found) if found else np.zeros((0, *shape), np.float32)


@inputs(noun="uniform noise")
def uniform(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> Floats:
    """Pictures of uniform noise."""
    return drawn(rows, shape, seed, name, lambda random: random.random(shape, np.float32))


@inputs(noun="Gaussian noise")
def gaussian(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> Floats:
    """Pictures of normal noise, with the mean and the spread of photographs."""
    return np.asarray(MEAN + SPREAD * vectors(rows, shape, seed=seed, name=name), np.float32)


@inputs(of="numbers", noun="normal numbers")
def vectors(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> Floats:
    """Standard normal numbers.

    No input is taken for a picture, a signal or a state then.
    """
    return drawn(rows, shape, seed, name, lambda random: random.standard_normal(shape, np.float32))
