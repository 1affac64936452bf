"""Progress as data: stages say what they do through an injected callback, only the CLI prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Started:
    """A stage begins; `total` counts its steps, or is None where they cannot be counted.

    Once more for a stage that has not ended: from now on other steps are counted, whose plural is
    `unit`.  There may be more steps than were expected; then nobody knows how many are left.  They
    end after `seconds` at most, done or not.
    """

    stage: str
    total: int | None = None
    unit: str = "steps"
    seconds: float = math.inf


@dataclass(frozen=True)
class Step:
    """`advance` more steps of a stage are done.

    `share` is how much of the whole stage's work is done now, between 0 and 1, where that is known
    better than by counting.
    """

    stage: str
    advance: int = 1
    share: float | None = None


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
Callback = Callable[[Event], None]


def quiet(event: Event) -> None:
    """The callback of those who do not want to hear."""


class Advance(Protocol):
    """Called where steps are done."""

    def __call__(self, advance: int = 1) -> None:
        """So many more."""


def unheard(advance: int = 1) -> None:
    """For those who do not want to hear of steps."""


class Counted(Protocol):
    """Called where steps begin."""

    def __call__(self, total: int | None, unit: str, seconds: float = math.inf) -> Advance:
        """Begin to count.

        Args:
            total: how many steps are expected; None where nobody knows.
            unit: their plural.
            seconds: after which they end, done or not.
        """


def uncounted(total: int | None, unit: str, seconds: float = math.inf) -> Advance:
    """Counts nothing."""
    return unheard


def counted_in(stage: str, callback: Callback) -> Counted:
    """Counts steps of a stage that cost about the same."""

    def begin(total: int | None, unit: str, seconds: float = math.inf) -> Advance:
        callback(Started(stage, total, unit, seconds))
        return lambda advance=1: callback(Step(stage, advance))

    return begin


class Work:
    """The work of a stage in parts, of which each has steps with an expected cost.

    Args:
        stage: what it belongs to.
        callback: is called with every event of progress.
        parts: the costs of all steps, by what their plural is; only their ratios count.
    """

    def __init__(
        self, stage: str, callback: Callback, parts: Mapping[str, Sequence[float]]
    ) -> None:
        self._stage, self._callback, self._parts = stage, callback, parts
        self._whole = sum(map(sum, parts.values())) or 1.0
        self._done = 0.0
        self._left: list[float] = []

    def begin(self, unit: str) -> None:
        """Count the steps of a part from now on."""
        self._left = list(reversed(self._parts[unit]))
        self._callback(Started(self._stage, len(self._left), unit))

    def step(self) -> None:
        """The next step of the part is done."""
        if self._left:
            self._done += self._left.pop()
            self._callback(Step(self._stage, 1, min(1.0, self._done / self._whole)))
