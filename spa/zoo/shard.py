"""Shares of a zoo that need no coordinator.

A model's share follows from its name alone.  So machines that see different listings, because a
file was added in between, still never take one model twice, and none that all of them see is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from spa.errors import UsageError
from spa.zoo.model import Found


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, name: str) -> bool:
        """Whether the model of this name is in this share."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def of(self, found: Iterable[Found]) -> list[Found]:
        """The models of this share."""
        return [each for each in found if self.holds(each.name)]


def parse(text: str) -> Shard:
    """Read i/n.

    Raises:
        UsageError: it is not written so, or i is not in 1..n.
    """
    first, mark, second = text.partition("/")
    if mark and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return Shard(int(first), int(second))
    raise UsageError(f"--shard {text!r} is not a part of a whole; write 1/4 to 4/4")
