"""Rows of tables, made once for the screen, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("plain", "good", "bad", "warning", "dim", "code")


class Cell(str):
    """Words of one of `KINDS`: a tone, or a name of the model's own (`code`)."""

    kind: str

    def __new__(cls, words: object, kind: str = "plain") -> Cell:
        """Make words of a kind."""
        made = super().__new__(cls, words)
        made.kind = kind
        return made


@dataclass(frozen=True)
class Table:
    """A table whose first `left` columns are words and the others numbers; false if empty."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def __bool__(self) -> bool:
        return bool(self.rows)
