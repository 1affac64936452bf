"""At which sizes a cut is proved: those of the analysis, and others of every symbol.

Nothing in a file says which sizes a model accepts, so others near those of the analysis are tried,
all symbols at once first, then one at a time, then two.  What the original itself refuses is left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

Sizes = Mapping[str, int]

SMALLER, LARGER = -1, 1
PATCH = 32  # sizes from here on may have to be multiples of it, as nets halve pictures five times
HEAVY = 1 << 24
"""Elements of one tensor from which on a larger size may need more memory than there is."""
MOST_REFUSED = 24  # sizes in one direction that an original may refuse before no more are tried


def steps(size: int, way: int, nearest: bool = False) -> list[int]:
    """How far other sizes lie from `size`: half of it below and near it above, for little work.

    `nearest` is for models of which any larger run takes much memory.
    """
    if size < PATCH:
        found = [max(1, size // 2), 1, size]
    else:
        near, half = -(-size // (8 * PATCH)) * PATCH, max(1, size // 2 // PATCH) * PATCH
        found = [near, size // 2, 1, size] if way > 0 else [half, near, size // 2, 1]
    if nearest and way > 0:
        found = [PATCH, 1, *sorted(found)] if size >= PATCH else sorted(found)
    return list(dict.fromkeys(way * step for step in found if size + way * step > 0))


def is_heavy(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a tensor is so large that the nearest of the larger sizes are tried first."""
    return any(prod(shape) > HEAVY for shape in shapes.values())


def each_other(
    dims: Sizes,
    accepted: Callable[[Sizes], bool],
    batches: Collection[str] = (),
    nearest: bool = False,
) -> list[Sizes]:
    """Other sizes that were accepted: of every symbol a smaller and a larger one, where any is.

    `accepted` tells of sizes whether the model takes them.  Symbols of one size stay of one size
    as long as all move at once.  The batch goes the other way than all others, for less work.
    `nearest` tries the nearest of the larger sizes first, where any run is much work.
    """
    found: list[Sizes] = []
    opposite = {dims[symbol] for symbol in batches}
    for way in (SMALLER, LARGER):
        ways = {s: -way if n in opposite else way for s, n in dims.items()}
        tried = {s: steps(n, ways[s], nearest) for s, n in dims.items()}
        search = _Search(dims, tried, accepted)
        search.all_at_once()
        search.one_by_one()
        search.in_pairs()
        found += search.found
    return found


@dataclass
class _Search:
    """Other sizes in one direction: `open` are the symbols that none was found of yet."""

    dims: Sizes
    steps: Mapping[str, list[int]]
    accepted: Callable[[Sizes], bool]
    found: list[Sizes] = field(default_factory=list)
    refused: list[Sizes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = {s for s in self.dims if self.steps[s]}

    def all_at_once(self) -> None:
        levels = max((len(self.steps[s]) for s in self.open), default=0)
        for level in range(levels):
            if self.open:
                moved = {s: self.steps[s][min(level, len(self.steps[s]) - 1)] for s in self.open}
                self._try(moved)

    def one_by_one(self) -> None:
        for symbol in sorted(self.open):
            for step in self.steps[symbol]:
                if symbol in self.open:
                    self._try({symbol: step})

    def in_pairs(self) -> None:
        """Two symbols by the same step: a cache and the length of the mask that covers it."""
        for pair in combinations(sorted(self.dims), 2):
            shared = [step for step in self.steps[pair[0]] if step in self.steps[pair[1]]]
            nearest = shared[:1] + [step for step in shared[1:] if abs(step) == 1]
            for step in nearest:
                if self.open.intersection(pair):
                    self._try(dict.fromkeys(pair, step))

    def _try(self, moved: Mapping[str, int]) -> None:
        sizes = {s: n + moved.get(s, 0) for s, n in self.dims.items()}
        if sizes in self.refused or len(self.refused) >= MOST_REFUSED:
            return
        if self.accepted(sizes):
            self.found.append(sizes)
            self.open.difference_update(moved)
        else:
            self.refused.append(sizes)
