"""Random scores: the control every criterion has to beat."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def uniform(seed: int) -> Callable[[str, NDArray[np.float32]], NDArray[np.float32]]:
    """A weigher that draws U(0, 1) per weight, the same for the same tensor name and seed."""

    def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        generator = np.random.default_rng([seed, zlib.crc32(tensor.encode())])
        return generator.random(array.shape, np.float32)

    return weigh
