"""Random scores: the control every criterion has to beat."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from spa.criteria.aggregate import Weigh
from spa.criteria.context import Context, criterion


@criterion()
def random(context: Context) -> Weigh:
    """Random numbers: the control.

    U(0, 1) per weight, the same for the same tensor name and `--seed`.
    """

    def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        generator = np.random.default_rng([context.seed, zlib.crc32(tensor.encode())])
        return generator.random(array.shape, np.float32)

    return weigh
