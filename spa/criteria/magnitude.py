"""Magnitude: small weights matter little (L1 and L2 norms of everything a channel owns)."""

from __future__ import annotations

import numpy as np

from spa.criteria.aggregate import Elementwise, Weigh
from spa.criteria.context import Context, Scores, criterion

magnitudes = Elementwise(np.abs)  # |w| per weight; its sum over a channel is the L1 norm
squares = Elementwise(np.square)
"""w² per weight; the root of its sum over a channel is the L2 norm (DepGraph's group norm)."""


@criterion()
def l1(context: Context) -> Weigh:
    """Sum of absolute weights."""
    return magnitudes


@criterion()
def l2(context: Context) -> Scores:
    """Root of the sum of squared weights.

    Over all weights that go with the channel (DepGraph's group norm).
    """
    return np.sqrt(context.per_channel(squares))
