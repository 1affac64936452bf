"""Token ids: sequences of valid ids, common ones more often, between the marks they need.

Nothing known here reads like text; measured on a sentence encoder, valid ids of plausible lengths
come near to real sentences, as long as the mask agrees with them and rare ids stay rare.

What ids mean is guessed from how many there are: tokenizers are not in the file, but most models
use one of few vocabularies, whose sizes tell them apart.  Of an unknown one, all ids are drawn
alike, but for rows that no training has touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spa.probes.noise import drawn

Ids = NDArray[np.int64]

SCANNED = 1 << 26  # entries of an embedding table up to which the norms of its rows are read
HEAD = 150
"""How many of the commonest words have ids of their own side by side, where ids go by frequency."""


@dataclass(frozen=True)
class Vocabulary:
    """Ordinary ids, the common ones among them, and what a sequence begins and ends with.

    `ranked`: ordinary ids go from common to rare.
    """

    name: str
    ordinary: Ids
    common: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    ranked: bool = False


# size: name, first and last ordinary id, the commonest word (0 where ids do not go by frequency),
# what sequences begin and end with
KNOWN: dict[int, tuple[str, int, int, int, tuple[int, ...], tuple[int, ...]]] = {
    30522: ("uncased WordPiece", 1996, 29612, 1996, (101,), (102,)),
    30527: ("uncased WordPiece with <s>", 2000, 29616, 2000, (0,), (2,)),
    30528: ("uncased WordPiece, padded", 1996, 29612, 1996, (101,), (102,)),
    30592: ("uncased WordPiece, padded", 1996, 29612, 1996, (101,), (102,)),
    28996: ("cased WordPiece", 1103, 28000, 1103, (101,), (102,)),
    119547: ("multilingual WordPiece", 10100, 119000, 10100, (101,), (102,)),
    105879: ("multilingual uncased WordPiece", 10100, 105000, 10100, (101,), (102,)),
    21128: ("Chinese characters", 670, 7991, 0, (101,), (102,)),
    50257: ("byte-level BPE", 256, 50255, 256, (), ()),
    50304: ("byte-level BPE, padded", 256, 50255, 256, (), ()),
    50265: ("byte-level BPE with <s>", 4, 50259, 4, (0,), (2,)),
    49408: ("lower-case BPE", 320, 49405, 320, (49406,), (49407,)),
    250002: ("multilingual SentencePiece", 4, 249996, 4, (0,), (2,)),
    250037: ("multilingual SentencePiece", 4, 249996, 4, (0,), (2,)),
    30000: ("SentencePiece with [CLS]", 13, 29999, 13, (2,), (3,)),
    128100: ("SentencePiece with [CLS]", 4, 127999, 4, (1,), (2,)),
    128001: ("SentencePiece with [CLS]", 4, 127999, 4, (1,), (2,)),
    32128: ("SentencePiece", 3, 31999, 3, (), (1,)),
    32100: ("SentencePiece", 3, 31999, 3, (), (1,)),
    32000: ("SentencePiece with bytes", 259, 31999, 259, (1,), ()),
    128256: ("byte-level BPE", 256, 127999, 256, (128000,), ()),
    151936: ("byte-level BPE", 256, 151642, 256, (), ()),
}

BYTES = range(256, 261)  # sizes of tables that bytes index, with up to four marks behind them
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"


def vocabulary(size: int, table: NDArray[np.generic] | None = None) -> Vocabulary:
    """The vocabulary of `size` ids whose embeddings are the rows of `table`, if they are known."""
    if size in KNOWN:
        name, low, high, head, first, last = KNOWN[size]
        common = np.arange(head, head + HEAD if head else head)
        return Vocabulary(name, np.arange(low, high + 1), common, first, last, ranked=head > 0)
    if size in BYTES:
        text = np.frombuffer(f" {LETTERS}{LETTERS.upper()}0123456789.,;:-\n".encode(), np.uint8)
        common = np.frombuffer(f" {LETTERS[:12]}".encode(), np.uint8)
        return Vocabulary("bytes", text.astype(np.int64), common.astype(np.int64))
    if size <= 16:
        return Vocabulary("", np.arange(max(1, size)))
    ids = np.arange(1, size)  # id 0 is padding more often than not
    return Vocabulary("unknown vocabulary", ids if table is None else _trained(ids, table))


def _trained(ids: Ids, table: NDArray[np.generic]) -> Ids:
    """Without ids whose embedding is zero or of a length far from all others."""
    if table.ndim != 2 or table.size > SCANNED or np.dtype(table.dtype).kind not in "f":
        return ids
    norms = np.linalg.norm(table[ids].astype(np.float32), axis=1)
    logs = np.log(norms + 1e-12)
    middle = np.median(logs)
    spread = np.median(np.abs(logs - middle)) + 1e-3
    kept = ids[np.abs(logs - middle) < 8 * spread]
    return kept if len(kept) > len(ids) // 2 else ids


COMMON = 0.25  # the share of the commonest words, by Zipf's law


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
