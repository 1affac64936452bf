"""What can be cut in a model, and what cannot and why."""

from __future__ import annotations

from rich.console import Group, RenderableType

from spa.reports import console, wording
from spa.reports.schema import GroupFacts, Report
from spa.reports.screen import filled, line, table, text

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
    heads = [COSTS[key] for key in costs]
    made = table("Group", "Members", "Channels", *heads, "", left=2)
    shown = filled(made, [_row(group, costs) for group in every])
    free = [group for group in every if not group["frozen"]]
    counts = f"{wording.plural(len(free), 'group')} can be cut, {len(every) - len(free):,} frozen"
    return [shown, line("Groups", counts)]


def _row(group: GroupFacts, costs: list[str]) -> tuple[object, ...]:
    members = group["members"]
    first = wording.shorten(members[0]["tensor"], 40) if members else wording.NOTHING
    words = first if len(members) < 2 else f"{first} +{len(members) - 1}"
    told = dict(group)
    fate = text(f"frozen: {group['reason']}", "dim") if group["frozen"] else text("")
    return (
        wording.shorten(wording.printable(group["name"]), 48),
        words,
        f"{group['channels_before']:,}",
        *(wording.count(told.get(key)) for key in costs),  # type: ignore[arg-type]
        fate,
    )
