"""Inputs that were written."""

from __future__ import annotations

from typing import TypedDict

from rich.console import Group, RenderableType

from spa.reports import wording
from spa.reports.screen import line, text


class Made(TypedDict):
    """What `spa probe` wrote.

    `inputs` are type and shape by name, `ranges` the least and the greatest number; `moved` says
    whether gradients have moved them.
    """

    path: str
    bytes: int
    inputs: dict[str, list[object]]
    ranges: dict[str, list[float] | None]
    moved: bool
    why: str
    notes: list[str]
    seconds: float


def screen(made: Made) -> RenderableType:
    """Show where they are, what they are, and how they came about."""
    rows = [
        line(name, f"{kind} {shape}{_between(made['ranges'][name])}")
        for name, (kind, shape) in made["inputs"].items()
    ]
    notes = [text(note, "dim") for note in made["notes"]]
    written = f"{made['path']} ({wording.size(made['bytes'])}, {wording.seconds(made['seconds'])})"
    return Group(line("Written", written), *rows, *notes)


def _between(span: list[float] | None) -> str:
    return "" if span is None else f", {span[0]:.4g} to {span[1]:.4g}"
