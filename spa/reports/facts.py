"""What a report says, worked out once for all its faces: screen, Markdown and HTML.

Everything here is a pure function of the report and tolerates one that stopped half way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal, cast

from spa.reports import wording
from spa.reports.moved import (
    least_agreement,
    measured_on,
    outputs,
    unverified,
    worst_drift,
)
from spa.reports.proof import proof_words
from spa.reports.schema import Gate, GroupFacts, LossyFacts, Report

Tone = Literal["good", "bad", "plain"]
MOST_PORTS = 8


@dataclass(frozen=True)
class Row:
    """One line of the table Original | Pruned | Change."""

    label: str
    before: str
    after: str
    change: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Headline:
    """One number worth a glance."""

    label: str
    value: str
    detail: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Reason:
    """Why channels are frozen, summed over the nodes that say so."""

    reason: str
    ops: str
    nodes: tuple[str, ...]
    places: int
    channels: int


@dataclass(frozen=True)
class Groups:
    """The groups by their fate."""

    pruned: tuple[GroupFacts, ...]
    whole: tuple[GroupFacts, ...]
    frozen: tuple[GroupFacts, ...]

    @property
    def sentence(self) -> str:
        """The counts in words."""
        return (
            f"{wording.plural(len(self.pruned), 'group')} pruned, "
            f"{len(self.whole):,} left whole, {len(self.frozen):,} frozen"
        )


@dataclass(frozen=True)
class GateWords:
    """One demand in words."""

    name: str
    limit: str
    measured: str
    passed: bool

    @property
    def sentence(self) -> str:
        """What was measured, and what was asked for."""
        return f"measured {self.measured}, the limit is {self.limit}"


def model(report: Report, side: Literal["input", "output"]) -> Mapping[str, Any]:
    """Return what is known about one of the two models, or nothing."""
    found = report.get(side)
    return cast("Mapping[str, Any]", found) if found else {}


def model_name(report: Report) -> str:
    """Return the model's file name, or a word in its place."""
    path = model(report, "input").get("path")
    return wording.printable(PurePath(str(path)).name if path else "model")


def total_seconds(report: Report) -> float:
    """Return how long everything took, 0 where nobody looked."""
    spent = report.get("timings") or {}
    return float(spent.get("total") or sum(took for _, took in timings(report)))


def comparison(report: Report) -> list[Row]:
    """Return the table's rows; what nobody measured is not shown."""
    before, after = model(report, "input"), model(report, "output")
    rows = _ports("input", before, after) + _ports("output", before, after)
    rows += _ops(report)
    for key, label in (("params", "parameters"), ("macs", "MACs"), ("channels", "channels")):
        rows.append(_amount(report, key, label))
    rows.append(_amount(report, "bytes", "file size"))
    rows += _latency(report) + _drift(report) + _score(report)
    return [row for row in rows if (row.before, row.after) != (wording.NOTHING,) * 2]


def _ports(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    old = {name: (dtype, dims) for name, dtype, dims in before.get(f"{kind}s") or ()}
    new = {name: (dtype, dims) for name, dtype, dims in after.get(f"{kind}s") or ()}
    if not new:
        new = old
    rows: list[Row] = []
    hidden = 0
    for name in dict.fromkeys([*old, *new]):
        same = old.get(name) == new.get(name)
        if same and len(rows) >= MOST_PORTS:
            hidden += 1
            continue
        label = f"{kind} {wording.shorten(wording.printable(name), 32)}"
        left, right = _port(old.get(name)), _port(new.get(name))
        rows.append(Row(label, left, right, "same" if same else "changed", _tone(same)))
    if hidden:
        rows.append(Row(f"… {wording.plural(hidden, kind)} more", "", "", "same"))
    return rows


def _tone(same: bool) -> Tone:
    return "plain" if same else "bad"


def _port(port: tuple[str, Sequence[int | str | None]] | None) -> str:
    if port is None:
        return wording.NOTHING
    dtype, dims = port
    return f"{dtype} {wording.shape(dims or ())}"


def _ops(report: Report) -> list[Row]:
    ops = report.get("ops")
    if not ops or not ops.get("after"):
        return []
    before, after = ops.get("before") or {}, ops["after"]
    old, new = sum(before.values()), sum(after.values())
    rows = [Row("nodes", f"{old:,}", f"{new:,}", "same" if before == after else f"{new - old:+,}")]
    for op in sorted(op for op in after if after[op] > before.get(op, 0)):
        left, right = before.get(op, 0), after[op]
        rows.append(Row(wording.printable(op), f"{left:,}", f"{right:,}", f"{right - left:+,}"))
    return rows


def _amount(report: Report, key: str, label: str) -> Row:
    old, new = _pair(report, key)
    removed = removed_share(report, key)
    tone: Tone = "plain"
    if removed:
        tone = "good" if removed > 0 else "bad"
    show = wording.size if key == "bytes" else wording.count
    return Row(label, show(old), show(new), wording.change(removed), tone)


def _pair(report: Report, key: str) -> tuple[float | None, float | None]:
    return model(report, "input").get(key), model(report, "output").get(key)


def removed_share(report: Report, key: str) -> float | None:
    """Return the share of parameters, MACs, channels or bytes that is gone."""
    told: Mapping[str, Any] = report.get("reduction") or {}
    if told.get(key) is not None:
        return float(told[key])
    old, new = _pair(report, key)
    return 1 - new / old if old and new is not None else None


def _latency(report: Report) -> list[Row]:
    latency = report.get("latency")
    if not latency:
        return []
    before, after = latency.get("before_ms"), latency.get("after_ms")
    speed = latency.get("speedup")
    left, right = wording.milliseconds(before), wording.milliseconds(after)
    ends = latency.get("low"), latency.get("high")
    return [Row("latency", left, right, wording.factor(speed, *ends), _speed_tone(speed, *ends))]


def _speed_tone(speed: float | None, low: float | None, high: float | None) -> Tone:
    if speed is None or 0.995 <= speed < 1.005 or wording.alike(low, high):
        return "plain"
    return "good" if speed > 1 else "bad"


def lossy(report: Report) -> list[LossyFacts]:
    """Return the ops behind which equality cannot hold."""
    verify = report.get("verify")
    return (verify.get("lossy") if verify else None) or []


def _drift(report: Report) -> list[Row]:
    worst, labels = worst_drift(report), least_agreement(report)
    found = []
    if worst is not None:
        found.append(Row(wording.DRIFT, wording.NOTHING, wording.measure(worst[1]), ""))
    elif unverified(report):
        found.append(Row(wording.DRIFT, wording.NOTHING, "not verified", "", "bad"))
    if labels is not None:
        found.append(Row("labels that stay", wording.NOTHING, wording.percent(labels[1]), ""))
    return found


def _score(report: Report) -> list[Row]:
    check = report.get("check")
    if not check:
        return []
    before, after, drop = check["before"], check["after"], check["drop"]
    change = wording.NOTHING if drop is None else f"{-drop:+.3g}" if drop else "same"
    tone: Tone = "plain" if not drop else "bad" if drop > 0 else "good"
    return [Row("score", wording.score(before), wording.score(after), change, tone)]


@dataclass(frozen=True)
class CheckWords:
    """The user's own check in words."""

    command: str
    passed: bool
    error: str

    @property
    def sentence(self) -> str:
        """What was run, and why it failed if it did."""
        return self.command if self.passed else f"{self.command}: {self.error}"


def check(report: Report) -> CheckWords | None:
    """Return what the user's check was, None where there was none."""
    told = report.get("check")
    if not told:
        return None
    why = wording.printable(told["error"] or "")
    return CheckWords(wording.printable(told["command"]), not why, why)


def gates(report: Report) -> list[GateWords]:
    """Return what was asked for, in words."""
    return [gate_words(gate) for gate in report.get("gates") or []]


def gate_words(gate: Gate) -> GateWords:
    """Put one demand into words; a number of bytes is counted out, so that near misses show."""
    exact = gate["name"].endswith("_bytes")
    value = gate["value"]
    if value is None:
        measured = wording.NOTHING
    elif exact:
        measured = f"{value:.0f}"
    else:
        measured = f"{value:.4g}"
    limit = f"{gate['limit']:.0f}" if exact else f"{gate['limit']:g}"
    name = wording.printable(gate["name"]).replace("_", "-")
    return GateWords(name, limit, measured, gate["passed"])


def headlines(report: Report) -> list[Headline]:
    """Return the few numbers the report is opened for."""
    found = []
    for key, label in (("macs", "MACs"), ("params", "Parameters"), ("bytes", "File size")):
        row = _amount(report, key, label)
        if row.change != wording.NOTHING:
            detail = f"{row.before} → {row.after}"
            found.append(Headline(label, row.change, detail, row.tone))
    rows = [row for row in _latency(report) if row.change != wording.NOTHING]
    found += [Headline("Latency", r.change, f"{r.before} → {r.after}", r.tone) for r in rows]
    worst = worst_drift(report)
    if worst is not None:
        name = wording.shorten(wording.printable(worst[0]), 24)
        found.append(Headline("Drift", wording.measure(worst[1]), f"NRMSE, {name}"))
    return found


def groups(report: Report) -> Groups:
    """Sort the groups by their fate, each kind in the model's order."""
    every = report.get("groups") or []
    frozen = tuple(g for g in every if g["frozen"])
    free = [g for g in every if not g["frozen"]]
    pruned = tuple(g for g in free if g["channels_after"] < g["channels_before"])
    whole = tuple(g for g in free if g["channels_after"] >= g["channels_before"])
    return Groups(pruned, whole, frozen)


def reasons(report: Report) -> list[Reason]:
    """Return why channels are frozen, the most channels first."""
    found: dict[str, Reason] = {}
    ops: dict[str, Counter[str]] = {}
    for fact in report.get("frozen") or []:
        reason = wording.printable(fact["reason"])
        ops.setdefault(reason, Counter())[wording.printable(fact["op"]) or "graph"] += 1
        old = found.get(reason, Reason(reason, "", (), 0, 0))
        node = wording.printable(fact["node"])
        nodes = old.nodes if len(old.nodes) >= 3 or not node else (*old.nodes, node)
        total = old.channels + (fact["channels"] or 0)
        found[reason] = replace(old, nodes=nodes, places=old.places + 1, channels=total)
    named = [replace(each, ops=_op_counts(ops[each.reason])) for each in found.values()]
    return sorted(named, key=lambda each: (-each.channels, each.reason))


def _op_counts(counter: Counter[str]) -> str:
    return ", ".join(op if n == 1 else f"{op} ×{n}" for op, n in counter.most_common(4))


def verdict(report: Report) -> str:
    """Say in one sentence what verification found."""
    verify = report.get("verify")
    if not verify or verify.get("level") == "none":
        return "not verified"
    proof = verify.get("proof")
    if not verify["passed"]:
        words = f"FAILED ({verify['level']})"
    elif proof is None or proof["status"] == "complete":
        words = f"passed ({verify['level']})"
    else:
        words = proof_words(proof)
    for key, label in (
        ("equivalence_error", "equivalence error"),
        ("max_abs_diff", "largest difference"),
    ):
        if verify.get(key) is not None:
            words += f", {label} {wording.measure(verify[key])}"  # type: ignore[literal-required]
    if verify.get("top1_agreement") is not None:
        words += f", top-1 agreement {wording.percent(verify['top1_agreement'])}"
    on = measured_on(report)
    words = f"{words}, measured on {on}" if on else words
    names = [m.name for m in outputs(report) if m.unverified]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{words}; drift of {', '.join(names[:3])}{more} not verified" if names else words


def timings(report: Report) -> list[tuple[str, float]]:
    """Return the stages that took time, in their order, without the total."""
    spent = report.get("timings") or {}
    return [(stage, took) for stage, took in spent.items() if stage != "total" and took]
