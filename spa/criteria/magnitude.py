"""Magnitude: small weights matter little (L1 and L2 norms of everything a channel owns)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def l1(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """|w| per weight; its sum over a channel is the L1 norm."""
    return np.abs(array)


l1.elementwise = True  # type: ignore[attr-defined]


def squares(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """w² per weight; the root of its sum over a channel is the L2 norm (DepGraph's group norm)."""
    return np.square(array)


squares.elementwise = True  # type: ignore[attr-defined]
