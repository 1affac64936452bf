"""What a file calls the tensors of a checkpoint, where something was put before each name.

`module.` of DataParallel, `_orig_mod.` of a compiled module, `state_dict.` of a dictionary around
it, `model.` of the module that held it: one side has more in front than the other, always the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

DIVIDERS = "./"
Front = tuple[str, str]
"""What stands before a name in the checkpoint, and before the same name in the file."""


def called(sizes: Mapping[str, int], stored: Mapping[str, int]) -> dict[str, str]:
    """The names in a file of the tensors of a checkpoint, by their names there.

    What is left out in front is what makes the most names the same; nothing where that makes as
    many, or where several would do.

    Args:
        sizes: how many numbers each tensor of the checkpoint holds.
        stored: how many each tensor of the file holds.
    """
    pairs: defaultdict[Front, dict[str, str]] = defaultdict(dict)
    for name, size in sizes.items():
        for front, rest in _rests(name):
            if stored.get(rest) == size:
                pairs[front, ""][name] = rest
    for name, size in stored.items():
        for front, rest in _rests(name):
            if front and sizes.get(rest) == size:
                pairs["", front][rest] = name
    if not pairs:
        return {}
    counts = Counter({front: len(found) for front, found in pairs.items()})
    most = max(counts.values())
    best = [front for front, count in counts.items() if count == most]
    return pairs[best[0] if len(best) == 1 else ("", "")]


def _rests(name: str) -> Iterator[tuple[str, str]]:
    """All ways to divide a name into what stands in front, if anything, and the rest."""
    yield "", name
    for k, letter in enumerate(name):
        if letter in DIVIDERS and 0 < k < len(name) - 1:
            yield name[: k + 1], name[k + 1 :]
