"""Branches in a report: what may be bypassed, what was, and what says so."""

from __future__ import annotations

from typing import Literal, TypedDict


class BranchFacts(TypedDict):
    """What may be bypassed: `name` is the sum that `node` makes, which becomes its `shortcut`.

    `nodes`, `params` and `macs` are what then goes; an inner branch is part of the outer one's.
    `reason` says why it may not be bypassed, None where it may.  A `run` ends in no sum: what
    `node` makes becomes what the run is given.
    """

    name: str
    kind: Literal["residual", "run"]
    op: str
    node: str
    shortcut: str
    nodes: int
    params: int
    macs: int
    reason: str | None


class BranchStep(TypedDict):
    """A branch in the order of importance, the least first.

    `saved` is the share of the budget's unit that goes with it and all before it, `error` the
    relative error of the outputs then, before anything is refitted.
    """

    name: str
    saved: float
    error: float


class DepthTried(TypedDict):
    """So many branches out, the rest of the budget by widths, refitted on a part of the inputs.

    `error` is that of the outputs, relative, on another part; None where the budget is not met.
    """

    branches: int
    error: float | None


class DepthFacts(TypedDict):
    """How many branches go, and what says so; those that go are in `bypassed`."""

    chosen: int
    order: list[BranchStep]
    tried: list[DepthTried]
