"""Which operators spa understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypedDict

from rich.console import Group, RenderableType
from rich.text import Text

from spa.reports.screen import filled, line, table, text

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
    made = table("Operator", "Domain", "Status", "Note", left=4)
    lines = [
        (fact["op"], fact["domain"] or "ai.onnx", _status(fact), fact["note"]) for fact in catalogue
    ]
    counts = Counter[str](fact["status"] for fact in catalogue)
    meanings = [
        line(status, f"{counts[status]:,} {meaning}") for status, meaning in MEANINGS.items()
    ]
    return Group(filled(made, lines), *meanings)


def _status(fact: OpFacts) -> Text:
    return text(fact["status"], TONES[fact["status"]])
