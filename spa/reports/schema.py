"""The report as data: one schema that every screen, file and test reads.

A report is a plain dict.  The types below document it, and tests check every report against them
(with msgspec), so what is written here is what is true.  Keys of `Report` are always there; a
section nobody reached is None.  Numbers that are not finite become null in JSON.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypedDict, cast

from spa.registry import REPORTS, Registry
from spa.reports.branches import BranchFacts, DepthFacts
from spa.reports.trials import SearchFacts
from spa.reports.verdicts import Verdicts

SCHEMA_VERSION: Literal[1] = 1

Status = Literal["ok", "dry-run", "failed", "interrupted"]
PortFacts = list[Any]  # [name, dtype, shape]; a size in the shape is an int, a symbol or None


class Member(TypedDict):
    """One axis of one weight that a group cuts."""

    tensor: str
    axis: int


class _Group(TypedDict):
    id: int | str
    name: str
    channels_before: int
    channels_after: int
    members: list[Member]
    frozen: bool
    reason: str | None


class GroupFacts(_Group, total=False):
    """One coupled-channel group; `params` and `macs` are what all its channels cost together."""

    params: int | None
    macs: int | None


class FrozenFacts(TypedDict):
    """Why some channels may not go."""

    reason: str
    op: str
    node: str
    channels: int


class _Output(TypedDict):
    path: str | None
    sha256: str | None
    bytes: int | None
    params: int | None
    macs: int | None
    channels: int | None


class OutputFacts(_Output, total=False):
    """The pruned model; before anything is written its path, hash and size are None."""

    inputs: list[PortFacts]
    outputs: list[PortFacts]


class InputFacts(OutputFacts):
    """The model that was read."""

    opset: int | None
    producer: str | None


class _Reduction(TypedDict):
    params: float | None
    macs: float | None
    channels: float | None
    bytes: float | None


class Reduction(_Reduction, total=False):
    """Shares that are really gone; negative where something grew; latency where it was a budget."""

    latency: float | None


class LossyFacts(TypedDict):
    """An op that takes statistics over channels, so that equality cannot hold behind it."""

    op: str
    node: str
    reason: str


class _Verify(TypedDict):
    level: str
    passed: bool
    max_abs_diff: float | None
    equivalence_error: float | None
    drift: dict[str, float | None]
    cosine: dict[str, float | None]
    top1_agreement: float | None


class Proof(TypedDict):
    """How much of the cut is proved: `complete`, `partial` or `none`.

    So many numbers were `compared` with those of the original whose dropped channels are zero, at
    these `sizes` of its symbols; `limits` says in sentences what was left out.
    """

    status: str
    compared: int
    limits: list[str]
    sizes: list[dict[str, int]]


class VerifyFacts(_Verify, total=False):
    """What validation saw, per output.

    `drift` is the root mean square of the difference over the standard deviation of the original
    (NRMSE), `relative_l2` the L2 norm of the difference over that of the original, `agreement` the
    share of equal labels (or of common members, in lists such as a top-k) of integers.  A null is
    "not verified", and `unverified` says why.  All of it was measured on `rows` rows of the kind
    `inputs`; `held_back` says that nothing was fitted on them.
    `proof` is None where none was asked for.
    """

    proof: Proof | None
    relative_l2: dict[str, float | None]
    agreement: dict[str, float | None]
    unverified: dict[str, str]
    inputs: str | None
    rows: int | None
    held_back: bool | None
    lossy: list[LossyFacts]


class _Latency(TypedDict):
    provider: str
    threads: int | None
    runs: int
    before_ms: float | None
    after_ms: float | None
    speedup: float | None


class Latency(_Latency, total=False):
    """Both models in one run, in milliseconds; `speedup` above 1 is faster.

    It lies between `low` and `high` at 95 %.
    """

    low: float | None
    high: float | None


class Points(TypedDict):
    """Where the times of a table come from; those without a measurement follow the width."""

    measured: int
    cached: int
    estimated: int
    failed: int


class BottleneckFacts(TypedDict):
    """Operators of one kind with what hangs off them; `share` is of the model's time.

    `op` is "run" for what a run costs apart from its operators.
    """

    op: str
    pieces: int
    share: float
    shrinks: bool


class LatencyBudget(TypedDict):
    """How a share of the time was removed; `asked`, `predicted`, `measured` are shares.

    `measured` may be below `asked` by no more than `tolerance`.
    """

    asked: float
    predicted: float
    measured: float
    tolerance: float
    before_ms: float
    overhead_ms: float
    provider: str
    threads: int | None
    cpu: str
    turns: int
    points: Points
    seconds: float
    cache: str | None
    bottlenecks: list[BottleneckFacts]


class TuneFacts(TypedDict):
    """How the original taught the pruned model by gradients, and what came of it.

    `before` and `after` are the drift (NRMSE) of the outputs on `held_rows` rows that nothing was
    fitted on, after steps on `rows` others, pictures in so many `views` each; `rates` has that of
    every rate after its short run. `steps` of those `planned` were taken; a budget of so many steps
    with the same seed repeats them on the same machine. `stopped` is "end", "interrupted", or
    "lost" where the error grew. Where no weights were better than those that came in these stay,
    and `kept` is false. `resumable`: there is a checkpoint to go on from.
    `asked`: somebody said how long; else it was tuned by default, and `stopped` may be "time".
    """

    seconds: float
    steps: int
    planned: int
    rate: str
    rates: dict[str, float | None]
    seed: int
    batch: int
    device: str
    inputs: str
    rows: int
    views: int
    held_rows: int
    before: float | None
    after: float | None
    features: list[str]
    stopped: str
    kept: bool
    resumable: bool
    asked: bool


class Gate(TypedDict):
    """One demand, by the name of its option; value None: not measured."""

    name: str
    limit: float
    value: float | None
    passed: bool


class CheckFacts(TypedDict):
    """What the user's own check said of the two models; `error` is why it failed.

    `drop` is how far the score fell, so below 0 where it rose.  Where the score is a share of so
    many `rows`, `drop_error` is the standard error of the drop, at most; None: it cannot be told.
    """

    command: str
    before: float | None
    after: float | None
    drop: float | None
    drop_error: float | None
    rows: int | None
    error: str | None


class OpCounts(TypedDict):
    """How many nodes of each op the two models have."""

    before: dict[str, int]
    after: dict[str, int]


Kind = Literal["model", "data", "plan", "report", "table", "plot"]


class FileFacts(TypedDict):
    """A file that was written: the model, its external data, a report, a table or a plot."""

    kind: Kind
    path: str
    bytes: int | None
    sha256: str | None


class Origin(TypedDict, total=False):
    """What led to a result: the words of the command line, and all options as they were settled.

    `recipe` can be given back as `--config`; `files` are all that were written.
    """

    command_line: list[str]
    recipe: dict[str, Any]
    files: list[FileFacts]


class _Report(TypedDict):
    schema_version: Literal[1]
    spa_version: str
    command: str
    status: Status
    exit_code: int
    error: str | None
    input: InputFacts | None
    output: OutputFacts | None
    reduction: Reduction | None
    groups: list[GroupFacts]
    frozen: list[FrozenFacts]
    verdicts: Verdicts | None
    verify: VerifyFacts | None
    latency: Latency | None
    timings: dict[str, float]
    peak_rss_bytes: int | None
    versions: dict[str, str]
    warnings: list[str]


class Report(_Report, Origin, total=False):
    """What `--json` and `--report` show."""

    ops: OpCounts | None
    gates: list[Gate]
    branches: list[BranchFacts]
    bypassed: list[BranchFacts]
    depth: DepthFacts
    check: CheckFacts
    latency_budget: LatencyBudget
    tune: TuneFacts
    search: SearchFacts
    notes: list[str]


def empty_report(command: str) -> Report:
    """Return a report of which nothing is known yet; it says "failed" until somebody succeeds."""
    from spa._version import __version__

    known = {"schema_version": SCHEMA_VERSION, "spa_version": __version__, "command": command}
    lists: dict[str, object] = {name: [] for name in ("groups", "frozen", "warnings", "gates")}
    made = {"status": "failed", "exit_code": 1, "timings": {}, "versions": {}, **lists}
    return cast(Report, {**dict.fromkeys(_Report.__annotations__), "ops": None, **known, **made})


def unreadable(path: str) -> InputFacts:
    """Return the facts of a model nobody could read: its path."""
    nothing = dict.fromkeys(("sha256", "bytes", "opset", "producer", "params", "macs", "channels"))
    return cast(InputFacts, {"path": path, **nothing})


face: Registry[Callable[[Report], str]] = REPORTS
"""What makes a format: below it stand functions from a report to text."""


def json_schema() -> dict[str, Any]:
    """Return the schema of a report in JSON, for tools in other languages."""
    from msgspec.json import schema

    return cast("dict[str, Any]", _cleaned(schema(Report)))


def _cleaned(part: object) -> object:
    """A part of a schema without the indentation of docstrings, which msgspec may leave in."""
    if isinstance(part, dict):
        return {
            key: inspect.cleandoc(each)
            if key == "description" and isinstance(each, str)
            else _cleaned(each)
            for key, each in part.items()
        }
    return [_cleaned(each) for each in part] if isinstance(part, list) else part
