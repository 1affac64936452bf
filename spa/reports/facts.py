"""What a report says, worked out once for all its faces: screen, Markdown and HTML.

Everything here is a pure function of the report and tolerates one that stopped half way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from spa.reports import moved, run, wording
from spa.reports.schema import CheckFacts, FrozenFacts, Gate, GroupFacts, LossyFacts, Proof, Report
from spa.reports.verdicts import GRADES
from spa.reports.wording import Cell, Table

MOST_PORTS = 8
FIGURES = {"equivalence_error": "equivalence error", "max_abs_diff": "largest difference"}
SIZES = (("macs", "MACs"), ("params", "Parameters"), ("bytes", "File size"))


class Row(NamedTuple):
    """One line of the table Original | Pruned | Change."""

    label: str
    before: str
    after: str
    change: Cell


class Reason(NamedTuple):
    """Why channels are frozen, summed over the nodes that say so."""

    reason: str
    ops: str
    nodes: tuple[str, ...]
    places: int
    channels: int

    @property
    def more(self) -> int:
        """How many nodes are not named."""
        return self.places - len(self.nodes)


class Groups(NamedTuple):
    """The groups by their fate."""

    pruned: list[GroupFacts]
    whole: list[GroupFacts]
    frozen: list[GroupFacts]

    @property
    def sentence(self) -> str:
        """The counts in words."""
        return (
            f"{wording.plural(len(self.pruned), 'group')} pruned, "
            f"{len(self.whole):,} left whole, {len(self.frozen):,} frozen"
        )


class Demand(NamedTuple):
    """One gate in words."""

    name: str
    limit: str
    measured: str
    passed: bool

    @property
    def sentence(self) -> str:
        """What was measured, and what was asked for."""
        return f"measured {self.measured}, the limit is {self.limit}"


def comparison(report: Report) -> Table:
    """Return the two models side by side; what nobody measured is not shown."""
    rows = [*_ports(report, "input"), *_ports(report, "output"), *_ops(report)]
    for key, label in (("params", "parameters"), ("macs", "MACs"), ("channels", "channels")):
        rows.append(_amount(report, key, label))
    rows.append(_amount(report, "bytes", "file size"))
    rows += [*_latency(report), *_drift(report), *_score(report)]
    known = [row for row in rows if (row.before, row.after) != (wording.NOTHING,) * 2]
    return Table(("", "Original", "Pruned", "Change"), known)


def _ports(report: Report, kind: str) -> list[Row]:
    def of(side: Literal["input", "output"]) -> dict[str, str]:
        found = run.model(report, side).get(f"{kind}s") or ()
        return {name: f"{dtype} {wording.shape(dims or ())}" for name, dtype, dims in found}

    old = of("input")
    new = of("output") or old
    rows: list[Row] = []
    hidden = 0
    for name in dict.fromkeys([*old, *new]):
        left, right = old.get(name, wording.NOTHING), new.get(name, wording.NOTHING)
        if left == right and len(rows) >= MOST_PORTS:
            hidden += 1
            continue
        label = f"{kind} {wording.shorten(wording.printable(name), 32)}"
        change = Cell("same") if left == right else Cell("changed", "bad")
        rows.append(Row(label, left, right, change))
    if hidden:
        rows.append(Row(f"… {wording.plural(hidden, kind)} more", "", "", Cell("same")))
    return rows


def _ops(report: Report) -> list[Row]:
    ops = report.get("ops")
    if not ops or not ops.get("after"):
        return []
    before, after = ops.get("before") or {}, ops["after"]
    old, new = sum(before.values()), sum(after.values())
    change = Cell("same" if before == after else f"{new - old:+,}")
    more = [(op, before.get(op, 0), after[op]) for op in sorted(after)]
    return [
        Row("nodes", f"{old:,}", f"{new:,}", change),
        *(
            Row(wording.printable(op), f"{left:,}", f"{right:,}", Cell(f"{right - left:+,}"))
            for op, left, right in more
            if right > left
        ),
    ]


def _amount(report: Report, key: str, label: str) -> Row:
    old, new = (run.model(report, side).get(key) for side in ("input", "output"))
    removed = removed_share(report, key)
    kind = "plain" if not removed else "good" if removed > 0 else "bad"
    show = wording.size if key == "bytes" else wording.count
    return Row(label, show(old), show(new), Cell(wording.change(removed), kind))


def removed_share(report: Report, key: str) -> float | None:
    """Return the share of parameters, MACs, channels or bytes that is gone."""
    told: Mapping[str, Any] = report.get("reduction") or {}
    if told.get(key) is not None:
        return float(told[key])
    old, new = run.model(report, "input").get(key), run.model(report, "output").get(key)
    return 1 - new / old if old and new is not None else None


def _latency(report: Report) -> list[Row]:
    latency = report.get("latency")
    if not latency:
        return []
    left = wording.milliseconds(latency.get("before_ms"))
    right = wording.milliseconds(latency.get("after_ms"))
    ends = latency.get("low"), latency.get("high")
    return [Row("latency", left, right, speed(latency.get("speedup"), *ends))]


def speed(factor: float | None, low: float | None = None, high: float | None = None) -> Cell:
    """A speed-up, green where it is one and red where it is the opposite."""
    kind = "plain"
    if factor is not None and not 0.995 <= factor < 1.005 and not wording.alike(low, high):
        kind = "good" if factor > 1 else "bad"
    return Cell(wording.factor(factor, low, high), kind)


def _drift(report: Report) -> list[Row]:
    worst, labels = moved.worst_drift(report), moved.least_agreement(report)
    found = []
    if worst is not None:
        found.append(Row(wording.DRIFT, wording.NOTHING, wording.measure(worst[1]), Cell("")))
    elif any(each.unverified for each in moved.outputs(report)):
        found.append(Row(wording.DRIFT, wording.NOTHING, "not verified", Cell("", "bad")))
    if labels is not None:
        words = wording.percent(labels)
        found.append(Row("labels that stay", wording.NOTHING, words, Cell("")))
    return found


def _score(report: Report) -> list[Row]:
    check = report.get("check")
    if not check:
        return []
    drop = check["drop"]
    words = wording.NOTHING if drop is None else f"{-drop:+.3g}" if drop else "same"
    if check.get("drop_error"):
        words += f" ± {check['drop_error']:.2g}"
    change = Cell(words, "plain" if not drop else "bad" if drop > 0 else "good")
    return [Row("score", wording.score(check["before"]), wording.score(check["after"]), change)]


def check_words(check: CheckFacts) -> str:
    """Say what the user's check was, and why it failed if it did."""
    return f"{check['command']}: {check['error']}" if check["error"] else check["command"]


def gates(report: Report) -> list[Demand]:
    """Return what was asked for, in words."""
    return [gate_words(gate) for gate in report.get("gates") or []]


def gate_words(gate: Gate) -> Demand:
    """Put one demand into words; a number of bytes is counted out, so that near misses show."""
    exact = gate["name"].endswith("_bytes")
    value = gate["value"]
    measured = wording.NOTHING if value is None else f"{value:.0f}" if exact else f"{value:.4g}"
    limit = f"{gate['limit']:.0f}" if exact else f"{gate['limit']:g}"
    name = wording.printable(gate["name"]).replace("_", "-")
    if gate["name"] == "min_quality":
        limit = GRADES[int(gate["limit"])]
        measured = "unknown" if value is None else GRADES[int(value)]
    return Demand(name, limit, measured, gate["passed"])


def headlines(report: Report) -> list[tuple[str, Cell, str]]:
    """Return the few numbers the report is opened for: label, number and detail."""
    rows = [_amount(report, key, label) for key, label in SIZES]
    rows += [row._replace(label="Latency") for row in _latency(report)]
    known = [row for row in rows if row.change != wording.NOTHING]
    found = [(row.label, row.change, f"{row.before} → {row.after}") for row in known]
    worst = moved.worst_drift(report)
    if worst is not None:
        name = wording.shorten(wording.printable(worst[0]), 24)
        found.append(("Drift", Cell(wording.measure(worst[1])), f"NRMSE, {name}"))
    return found


def groups(report: Report) -> Groups:
    """Sort the groups by their fate, each kind in the model's order."""
    every = report.get("groups") or []
    found = Groups([], [], [])
    for each in every:
        smaller = each["channels_after"] < each["channels_before"]
        (found.frozen if each["frozen"] else found.pruned if smaller else found.whole).append(each)
    return found


def loss(group: GroupFacts) -> str:
    """How many channels of a group are gone, as a change."""
    before = group["channels_before"]
    return wording.change(1 - group["channels_after"] / before if before else None)


def reasons(report: Report) -> list[Reason]:
    """Return why channels are frozen, the most channels first."""
    found: dict[str, list[FrozenFacts]] = {}
    for fact in report.get("frozen") or []:
        found.setdefault(wording.printable(fact["reason"]), []).append(fact)
    every = [_reason(reason, places) for reason, places in found.items()]
    return sorted(every, key=lambda each: (-each.channels, each.reason))


def _reason(reason: str, places: Sequence[FrozenFacts]) -> Reason:
    ops = Counter(wording.printable(each["op"]) or "graph" for each in places)
    words = ", ".join(op if n == 1 else f"{op} ×{n}" for op, n in ops.most_common(4))
    nodes = [node for each in places if (node := wording.printable(each["node"]))]
    channels = sum(each["channels"] or 0 for each in places)
    return Reason(reason, words, tuple(nodes[:3]), len(places), channels)


def lossy(report: Report) -> list[LossyFacts]:
    """Return the ops behind which equality cannot hold."""
    verify = report.get("verify")
    return (verify.get("lossy") if verify else None) or []


def proof_words(proof: Proof | None) -> str:
    """Say how much of a cut is proved."""
    if proof is None:
        return "no proof was asked for (--set verify=equivalence, or --level equivalence)"
    if proof["status"] == "complete":
        return "proved in full"
    if proof["status"] == "none":
        return "not proved, as no numbers could be compared"
    limits = [wording.printable(limit) for limit in proof["limits"]]
    more = f" (and {len(limits) - 1} more)" if len(limits) > 1 else ""
    return f"proved in part: {wording.shorten(limits[0], 200)}{more}"


def verified(report: Report) -> str:
    """Say in one sentence what the figures behind the verdicts are."""
    verify = report.get("verify")
    if not verify or verify.get("level") == "none":
        return ""
    words = [f"level {verify['level']}"]
    for key, label in FIGURES.items():
        if verify.get(key) is not None:
            words.append(f"{label} {wording.measure(verify[key])}")  # type: ignore[literal-required]
    if verify.get("top1_agreement") is not None:
        words.append(f"top-1 agreement {wording.percent(verify['top1_agreement'])}")
    return ", ".join(words)
