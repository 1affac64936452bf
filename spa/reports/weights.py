"""What became of a checkpoint's tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from spa.reports.screen import line, shown
from spa.reports.wording import Cell, Table

TONES = {"name": "good", "value": "good", "folded": "warning", "whole": "dim"}
MEANINGS = {
    "name": "called the same in the exported file",
    "value": "found by their numbers under another name, or in another layout",
    "folded": "found with BatchNormalization worked in, which was undone",
    "whole": "not in the file, and left as they were",
}


def screen(told: Mapping[str, Any]) -> RenderableType:
    """Show every tensor that was found, then what the words mean, then what is to be known."""
    rows = [
        (
            row["name"],
            Cell(row["how"], TONES[row["how"]]),
            _size(row),
            ", ".join(t for t in row["tensors"] if t != row["name"]),
            row["why"] or ("refitted" if row["refitted"] else ""),
        )
        for row in told["rows"]
        if row["how"] != "whole"
    ]
    counts = Counter[str](row["how"] for row in told["rows"])
    found = [
        line(how, f"{counts[how]:,} {words}") for how, words in MEANINGS.items() if counts[how]
    ]
    notes: Sequence[str] = told["notes"]
    return Group(
        shown(Table(("Tensor", "Found by", "Sizes", "In the file", "Note"), rows, left=5)),
        *found,
        *(line("note", each) for each in notes),
        line("written", told["output"]),
    )


def _size(row: Mapping[str, Any]) -> str:
    before, after = ("x".join(map(str, row[key])) or "1" for key in ("shape", "new_shape"))
    return before if before == after else f"{before} > {after}"
