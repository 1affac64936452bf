"""The report as data: one schema that every screen, file and test reads.

A report is a plain dict.  The types below document it and `validate` checks a dict against them, so
what is written here is what is true.  Keys of `Report` are always there; a section nobody reached
is None.  Numbers that are not finite become null in JSON.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

SCHEMA_VERSION = 1

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


class HolderFacts(TypedDict):
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
    holders: list[HolderFacts]


class Gate(TypedDict):
    """One demand, by the name of its option; value None: not measured."""

    name: str
    limit: float
    value: float | None
    passed: bool


class CheckFacts(TypedDict):
    """What the user's own check said of the two models; `error` is why it failed.

    `drop` is how far the score fell, so below 0 where it rose.
    """

    command: str
    before: float | None
    after: float | None
    drop: float | None
    error: str | None


class OpCounts(TypedDict):
    """How many nodes of each op the two models have."""

    before: dict[str, int]
    after: dict[str, int]


class _Report(TypedDict):
    schema_version: int
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
    verify: VerifyFacts | None
    latency: Latency | None
    timings: dict[str, float]
    peak_rss_bytes: int | None
    versions: dict[str, str]
    warnings: list[str]


class Report(_Report, total=False):
    """What `--json` and `--report` show."""

    ops: OpCounts | None
    gates: list[Gate]
    check: CheckFacts
    latency_budget: LatencyBudget
    notes: list[str]


def empty_report(command: str) -> Report:
    """Return a report of which nothing is known yet; it says "failed" until somebody succeeds."""
    from spa._version import __version__

    return Report(
        schema_version=SCHEMA_VERSION,
        spa_version=__version__,
        command=command,
        status="failed",
        exit_code=1,
        error=None,
        input=None,
        output=None,
        reduction=None,
        groups=[],
        frozen=[],
        verify=None,
        latency=None,
        timings={},
        peak_rss_bytes=None,
        versions={},
        warnings=[],
        ops=None,
        gates=[],
    )


def unread(path: str) -> InputFacts:
    """Return the facts of a model nobody could read: its path."""
    return InputFacts(
        path=path,
        sha256=None,
        bytes=None,
        opset=None,
        producer=None,
        params=None,
        macs=None,
        channels=None,
    )


def validate(report: Mapping[str, Any]) -> list[str]:
    """Return everything wrong with a report, one sentence each; nothing when it is right."""
    problems = _mismatches(report, Report, "report")
    return problems or _contradictions(report)


def _mismatches(value: object, expected: Any, where: str) -> list[str]:
    if expected is Any:
        return []
    if is_typeddict(expected):
        return _dict_mismatches(value, expected, where)
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        found = [_mismatches(value, each, where) for each in arguments]
        return [] if [] in found else min(found, key=_depth)
    if origin is Literal:
        return [] if value in arguments else [f"{where} is {value!r}, not one of {arguments}"]
    if origin is list and isinstance(value, list):
        each = enumerate(value)
        return [p for i, v in each for p in _mismatches(v, arguments[0], f"{where}[{i}]")]
    if origin is dict and isinstance(value, dict):
        pairs = value.items()
        return [p for k, v in pairs for p in _mismatches(v, arguments[1], f"{where}[{k!r}]")]
    return [] if _is_a(value, origin or expected) else [_wrong_type(value, expected, where)]


def _dict_mismatches(value: object, expected: Any, where: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [_wrong_type(value, expected, where)]
    hints = get_type_hints(expected)
    missing = expected.__required_keys__ - value.keys()
    unknown = value.keys() - hints.keys()
    problems = [f"{where} lacks {key!r}" for key in sorted(missing)]
    problems += [f"{where} has the unknown key {key!r}" for key in sorted(map(str, unknown))]
    for key in hints.keys() & value.keys():
        problems += _mismatches(value[key], hints[key], f"{where}.{key}")
    return problems


def _is_a(value: object, expected: type) -> bool:
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, expected)


def _wrong_type(value: object, expected: Any, where: str) -> str:
    name = "null" if expected is type(None) else getattr(expected, "__name__", str(expected))
    return f"{where} is a {type(value).__name__}, not a {name}"


def _depth(problems: list[str]) -> int:
    # A union that fails everywhere is best explained by the member that fails deepest inside.
    return -max(problem.split(" ", 1)[0].count(".") for problem in problems)


def _contradictions(report: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    if report["schema_version"] != SCHEMA_VERSION:
        problems.append(f"report.schema_version is not {SCHEMA_VERSION}")
    success = report["exit_code"] == 0
    if success != (report["status"] in ("ok", "dry-run")):
        problems.append("report.status and report.exit_code disagree")
    if success == bool(report["error"]):
        problems.append("report.error must be there exactly when exit_code is not 0")
    for key, share in (report["reduction"] or {}).items():
        if share is not None and share > 1:
            problems.append(f"report.reduction.{key} is a share and cannot be {share}")
    names = [group["id"] for group in report["groups"]]
    if len(set(names)) < len(names):
        problems.append("report.groups has an id twice")
    for group in report["groups"]:
        problems += _group_contradictions(group)
    return problems


def _group_contradictions(group: Mapping[str, Any]) -> list[str]:
    name, before, after = group["name"], group["channels_before"], group["channels_after"]
    if not 0 <= after <= before:
        return [f"group {name!r} goes from {before} to {after} channels"]
    if group["frozen"] and after < before:
        return [f"group {name!r} is frozen and yet loses channels"]
    if group["frozen"] and not group["reason"]:
        return [f"group {name!r} is frozen without a reason"]
    return []
