"""What can be cut in a model, and what cannot and why."""

from __future__ import annotations

from rich.console import Group, RenderableType

from spa.reports import console, wording
from spa.reports.cells import Cell, Table
from spa.reports.schema import GroupFacts, Report
from spa.reports.screen import line, shown, text

MOST_REASONS = 30
COSTS = {"params": "Parameters", "macs": "MACs"}


def select(report: Report, *, groups: bool, frozen: bool) -> Report:
    """Keep only what can be cut, or only what is frozen; asked for both or neither, keep all."""
    if groups == frozen:
        return report
    chosen = report.copy()
    chosen["groups"] = [group for group in report["groups"] if group["frozen"] == frozen]
    if groups:
        chosen["frozen"] = []
    return chosen


def screen(report: Report) -> RenderableType:
    """Show the model's size, its groups and the reasons for what is frozen."""
    return Group(
        *_model(report),
        *_groups(report),
        *console.reasons(report, MOST_REASONS),
        *console.warnings(report),
    )


def _model(report: Report) -> list[RenderableType]:
    model = report.get("input")
    if not model:
        return []
    words = (
        f"{wording.count(model.get('params'))} parameters, "
        f"{wording.count(model.get('macs'))} MACs, "
        f"{wording.count(model.get('channels'))} channels that can be cut, "
        f"{wording.size(model.get('bytes'))}, opset {model.get('opset')}"
    )
    return [text(model.get("path") or "model", "title"), text(words)]


def _groups(report: Report) -> list[RenderableType]:
    every = report.get("groups") or []
    if not every:
        return [line("Groups", "none")]
    costs = [key for key in COSTS if any(g.get(key) is not None for g in every)]
    heads = ("Group", "Members", "Channels", *(COSTS[key] for key in costs), "")
    table = Table(heads, [_row(group, costs) for group in every], left=2)
    free = sum(not group["frozen"] for group in every)
    counts = f"{wording.plural(free, 'group')} can be cut, {len(every) - free:,} frozen"
    return [shown(table), line("Groups", counts)]


def _row(group: GroupFacts, costs: list[str]) -> tuple[str, ...]:
    members = group["members"]
    first = wording.shorten(members[0]["tensor"], 40) if members else wording.NOTHING
    return (
        wording.shorten(wording.printable(group["name"]), 48),
        first if len(members) < 2 else f"{first} +{len(members) - 1}",
        f"{group['channels_before']:,}",
        *(wording.count(group.get(key)) for key in costs),  # type: ignore[arg-type]
        Cell(f"frozen: {group['reason']}", "dim") if group["frozen"] else "",
    )
