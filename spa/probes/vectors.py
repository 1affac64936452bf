"""Plain numbers: what tabular inputs, states and everything else of no known shape are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.probes.probe import generator, inputs


@inputs(of="numbers", noun="normal numbers")
def vectors(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """Standard normal numbers.

    No input is taken for a picture, a signal or a state then.
    """
    drawn = [generator(seed, name, row).standard_normal(shape, np.float32) for row in rows]
    return np.stack(drawn) if drawn else np.zeros((0, *shape), np.float32)
