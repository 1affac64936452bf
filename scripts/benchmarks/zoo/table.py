"""The page: rows from results, and what they come to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from zoo.nets import Net
from zoo.tools import PEERS, RUNS

MARGIN = 0.005
"""Two shares of removed parameters that differ by no more count as equal."""
NAMES = {"spa": "spa", "onnxsim": "onnxsim", "torch-pruning": "Torch-Pruning"}


@dataclass(frozen=True)
class Row:
    """What all tools gave for one network.

    Attributes:
        net: the network.
        export: what its export gave, `{"error": why}` where there is no file.
        results: by tool; tools that have not run are missing.
    """

    net: Net
    export: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def exported(self) -> bool:
        """Whether there is a file that onnxruntime runs."""
        return bool(self.export.get("valid"))

    def valid(self, tool: str) -> bool:
        """Whether a tool's result is usable."""
        return bool(self.results.get(tool, {}).get("valid"))

    def removed(self, tool: str) -> float | None:
        """The share of the file's floating-point numbers that a valid result has not; or None."""
        found = self.results.get(tool, {})
        if not self.valid(tool):
            return None
        if "stored" in found and self.exported:
            before: int = found.get("before", self.export["stored"])
            return 1 - found["stored"] / before
        removed: float | None = found.get("removed")
        return removed

    def deeper(self) -> tuple[str, float] | None:
        """The peer that removes most, and how much."""
        found = [(tool, self.removed(tool)) for tool in PEERS]
        known = [(tool, share) for tool, share in found if share is not None]
        return max(known, key=lambda pair: pair[1]) if known else None

    def gap(self) -> float:
        """How much more the deeper peer removes; negative where spa goes deeper."""
        peer, own = self.deeper(), self.removed("spa")
        return (peer[1] if peer else 0.0) - (own or 0.0)

    def frozen(self) -> dict[str, int]:
        """Channels that stay for another reason than that an output shows them."""
        reasons = self.results.get("spa", {}).get("frozen") or {}
        return {why: n for why, n in reasons.items() if not why.startswith("graph output")}


def page(rows: Sequence[Row], versions: Mapping[str, str], words: str) -> str:
    """The whole document."""
    tried = [row for row in rows if row.exported]
    parts = [
        "# Compatibility",
        words.strip(),
        "## What it comes to",
        summary(rows),
        *_listed("## Shallower than the deeper peer", shortfalls(tried)),
        *_listed("## Not valid", invalid(tried)),
        *_listed("## Not exported", unexported(rows)),
        "## Network by network",
        _LEGEND,
        *families(rows),
        "## What stays, and why",
        frozen(tried),
        "Versions: " + ", ".join(f"{NAMES.get(k, k)} {v}" for k, v in versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    "Parameters removed where every group of channels is halved, for spa also multiply-accumulates "
    "(MACs); *at half the MACs* is the share of MACs gone where half of them were asked for. "
    "Seconds are those of loading, analysis, scores and cut (Torch-Pruning: of tracing, scores and "
    "cut). *Stays* counts the channels that are frozen for another reason than that an output "
    "shows them."
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Valid results, medians and depth, for the first set and for all."""
    head = (
        "networks", "tool", "valid", "median removed", "median where all three are valid",
        "as deep as the deeper peer", "median seconds", "half of the MACs reached",
    )  # fmt: skip
    cells = []
    for title, chosen in (("first set", [r for r in rows if r.net.core]), ("all", list(rows))):
        tried = [row for row in chosen if row.exported]
        name = f"{title}: {len(tried)}"
        cells += [[name, NAMES[tool], *_summed(tried, tool)] for tool in ("spa", *PEERS)]
    return table(head, cells)


def _summed(tried: Sequence[Row], tool: str) -> list[str]:
    ran = [row for row in tried if tool in row.results]
    good = [row for row in ran if row.valid(tool)]
    shared = [row for row in good if all(row.valid(each) for each in ("spa", *PEERS))]
    seconds = [row.results[tool]["seconds"] for row in good]
    deep = macs = ""
    if tool == "spa":
        rivalled = [row for row in ran if row.deeper() and "spa" in row.results]
        equal = sum(row.valid("spa") and row.gap() <= MARGIN for row in rivalled)
        deep = f"{equal} of {len(rivalled)}"
        asked = [row for row in ran if "spa macs" in row.results]
        macs = f"{sum(row.valid('spa macs') for row in asked)} of {len(asked)}"
    return [
        f"{len(good)} of {len(ran)}",
        percent(_middle([row.removed(tool) or 0.0 for row in good])),
        percent(_middle([row.removed(tool) or 0.0 for row in shared])) + f" ({len(shared)})",
        deep,
        "-" if not seconds else f"{median(seconds):.2f}",
        macs,
    ]


def _middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def percent(share: float | None) -> str:
    """A share as it stands in a table."""
    return "-" if share is None else f"{100 * share:.1f} %"


def families(rows: Sequence[Row]) -> list[str]:
    """A table under a heading for every family, in the order of the list."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.net.family].append(row)
    head = (
        "network", "parameters", "spa", "MACs", "s", "at half the MACs", "onnxsim", "s",
        "Torch-Pruning", "s", "stays",
    )  # fmt: skip
    parts = []
    for family, members in grouped.items():
        parts += [f"### {family[0].upper()}{family[1:]}", table(head, [_cells(r) for r in members])]
    return parts


def _cells(row: Row) -> list[str]:
    name = row.net.name + (f" ({row.net.exporter})" if row.net.exporter == "dynamo" else "")
    name += f" at {row.net.size}" if row.net.size else ""
    if not row.exported:
        return [name, f"not exported: {_why(row, 60)}", *[""] * 9]
    ours, macs = row.results.get("spa", {}), row.results.get("spa macs", {})
    reduction, halved = ours.get("reduction") or {}, macs.get("reduction") or {}
    peers = [cell for tool in PEERS for cell in (_removed(row, tool), _seconds(row, tool))]
    return [
        name, f"{row.export['stored'] / 1e6:.2f} M", _removed(row, "spa"),
        percent(reduction.get("macs")) if row.valid("spa") else "", _seconds(row, "spa"),
        percent(halved.get("macs")) if row.valid("spa macs") else _failed(row, "spa macs"),
        *peers, _stays(row),
    ]  # fmt: skip


def _removed(row: Row, tool: str) -> str:
    return percent(row.removed(tool)) if row.valid(tool) else _failed(row, tool)


def _failed(row: Row, tool: str) -> str:
    found = row.results.get(tool)
    if found is None:
        return ""
    return f"**no**: {_short(found.get('why', 'no reason'))}"


def _seconds(row: Row, tool: str) -> str:
    found = row.results.get(tool, {})
    return f"{found['seconds']:.2f}" if row.valid(tool) else ""


def _stays(row: Row) -> str:
    return ", ".join(f"{n} {why}" for why, n in [*row.frozen().items()][:3])


def _short(text: str, length: int = 60) -> str:
    text = re.sub(
        r"(?<![\w/])/[\w.-]+(/[\w.-]*)+", "…", text
    )  # a path of the machine that measured
    return text if len(text) <= length else text[: length - 1] + "…"


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return [heading, "\n".join(lines) if lines else "None."]


def shortfalls(rows: Sequence[Row]) -> list[str]:
    """Networks where a valid peer removes more than spa does, the worst first."""
    short = [row for row in rows if row.valid("spa") and row.deeper() and row.gap() > MARGIN]
    return [_shortfall(row) for row in sorted(short, key=lambda row: -row.gap())]


def _shortfall(row: Row) -> str:
    tool, share = row.deeper() or ("", 0.0)
    why = _stays(row) or "nothing is frozen"
    return (
        f"* {row.net.name}: {percent(row.removed('spa'))}, {NAMES[tool]} {percent(share)} ({why})"
    )


def invalid(rows: Sequence[Row]) -> list[str]:
    """Networks where spa gave no valid file, with its own words."""
    return [
        f"* {row.net.name}{' at half of the MACs' if run != 'spa' else ''}: "
        f"{row.results[run].get('why', 'no reason')}"
        for row in rows
        for run in RUNS
        if run in row.results and not row.valid(run)
    ]


def unexported(rows: Sequence[Row]) -> list[str]:
    """Networks of which there is no file, with the exporter's words."""
    missing = [row for row in rows if row.export and not row.exported]
    return [f"* {row.net.name} ({row.net.exporter}): {_why(row, 160)}" for row in missing]


def _why(row: Row, length: int) -> str:
    """Why a network was not exported."""
    return _short(str(row.export.get("error") or row.export.get("why") or "not yet"), length)


def frozen(rows: Sequence[Row]) -> str:
    """Reasons over all networks, those that hold most networks first."""
    nets: dict[str, int] = defaultdict(int)
    channels: dict[str, int] = defaultdict(int)
    for row in rows:
        for why, count in (row.results.get("spa", {}).get("frozen") or {}).items():
            nets[why] += 1
            channels[why] += count
    order = sorted(nets, key=lambda why: (-nets[why], -channels[why]))
    cells = [[why, str(nets[why]), f"{channels[why]:,}"] for why in order]
    return table(("reason (operator)", "networks", "channels"), cells)
