"""Token ids: sequences of valid ids, common ones more often, between the marks they need.

Nothing known here reads like text; measured on a sentence encoder, valid ids of plausible lengths
come near to real sentences, as long as the mask agrees with them and rare ids stay rare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.probes.noise import drawn
from spa.probes.vocabulary import Vocabulary

COMMON = 0.25
"""The share of the commonest words, by Zipf's law."""


def tokens(
    rows: Sequence[int],
    shape: tuple[int, ...],
    vocabulary: Vocabulary,
    *,
    seed: int = 0,
    name: str = "",
) -> NDArray[np.int64]:
    """Ids `[rows, *shape]`; sequences run along the last axis."""
    return drawn(rows, shape, seed, name, lambda random: _sequence(random, shape, vocabulary))


def _sequence(
    random: np.random.Generator, shape: tuple[int, ...], vocabulary: Vocabulary
) -> NDArray[np.int64]:
    ids = random.choice(vocabulary.ordinary, shape)
    if vocabulary.common.size:
        ranks = np.arange(1, len(vocabulary.common) + 1)
        common = random.choice(vocabulary.common, shape, p=(1 / ranks) / (1 / ranks).sum())
        if vocabulary.ranked:
            ids = vocabulary.ordinary[_ranks(random, shape, len(ranks), len(vocabulary.ordinary))]
        ids = np.where(random.random(shape) < COMMON, common, ids)
    first, last = vocabulary.first, vocabulary.last
    if shape and shape[-1] > len(first) + len(last):
        ids[..., : len(first)] = first
        ids[..., shape[-1] - len(last) :] = last
    return np.asarray(ids, np.int64)


def _ranks(
    random: np.random.Generator, shape: tuple[int, ...], low: int, high: int
) -> NDArray[np.int64]:
    """Ranks in `[low, high)` whose logarithms are uniform: one over the rank, as in text."""
    drawn = np.exp(np.log(low) + random.random(shape) * np.log(high / low))
    return np.asarray(np.minimum(drawn.astype(np.int64), high - 1))


def positions(rows: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """0, 1, 2, ... along the last axis."""
    return np.broadcast_to(np.arange(shape[-1]) if shape else np.int64(0), (len(rows), *shape))
