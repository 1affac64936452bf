"""Progress as data: stages say what they do through an injected callback, only the CLI prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """A stage begins; `total` counts its steps, or is None where they cannot be counted."""

    stage: str
    total: int | None = None


@dataclass(frozen=True)
class Step:
    """`advance` more steps of a stage are done."""

    stage: str
    advance: int = 1


@dataclass(frozen=True)
class Note:
    """Something worth a line: a warning or a decision spa took by itself."""

    message: str
    warning: bool = False


@dataclass(frozen=True)
class Done:
    """A stage has ended after `seconds`."""

    stage: str
    seconds: float


Event = Started | Step | Note | Done
Tell = Callable[[Event], None]


def quiet(event: Event) -> None:
    """The callback of those who do not want to hear."""
