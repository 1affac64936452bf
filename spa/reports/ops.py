"""Which operators spa understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypedDict

from rich.console import Group, RenderableType

from spa.reports.screen import line, shown
from spa.reports.wording import Cell, Table

Status = Literal["ruled", "lossy", "frozen"]
TONES = {"ruled": "good", "lossy": "warning", "frozen": "dim"}
MEANINGS = {
    "ruled": "pruned through, exactly",
    "lossy": "pruned through, but it takes statistics over channels",
    "frozen": "left alone on purpose; so is every operator not listed",
}


class OpFacts(TypedDict):
    """One operator of the catalogue."""

    domain: str
    op: str
    status: Status
    note: str


def screen(catalogue: Sequence[OpFacts]) -> RenderableType:
    """Show the operators by domain, then what the words mean."""
    rows = [
        (each["op"], each["domain"] or "ai.onnx", Cell(status, TONES[status]), each["note"])
        for each in catalogue
        for status in [each["status"]]
    ]
    counts = Counter[str](each["status"] for each in catalogue)
    meanings = [line(status, f"{counts[status]:,} {words}") for status, words in MEANINGS.items()]
    return Group(shown(Table(("Operator", "Domain", "Status", "Note"), rows, left=4)), *meanings)
