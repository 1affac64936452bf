"""A report on a screen: one table, then the few lines that explain it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from spa.reports import facts, moved, run, tried, verdicts, wording
from spa.reports.schema import GroupFacts, Report
from spa.reports.screen import line, lines, shown, text
from spa.reports.wording import Cell, Table

MOST_REASONS, MOST_REASONS_ALONE = 5, 30
MOST_NODES = 2
MOST_LOSSY = 5
MOST_BRANCHES = 6
COSTS = {"params": "Parameters", "macs": "MACs"}


def summary(report: Report) -> RenderableType:
    """Show Original | Pruned | Change, the groups, the reasons, the warnings and the files."""
    return Group(*_summary(report))


def _summary(report: Report) -> Iterator[RenderableType]:
    compared = facts.comparison(report)
    if compared:
        yield shown(compared)
    yield from _verdicts(report)
    if report.get("groups"):
        yield line("Groups", facts.groups(report).sentence)
    yield from _bypassed(report)
    yield from _reasons(report, MOST_REASONS)
    yield from _gates(report)
    for k, words in enumerate(run.budget(report)):
        yield line("" if k else "Budget", words, "dim" if k else "plain")
    for words in run.depth(report):
        yield line("Depth", words, "dim")
    for k, words in enumerate(run.tuned(report)):
        yield line("" if k else "Tuned", words, "dim" if k else "plain")
    yield from _tried(report)
    yield from _warnings(report)
    for words in report.get("notes") or []:
        yield line("Note", words, "dim")
    total = run.total_seconds(report)
    if total:
        yield line("Time", wording.seconds(total) + run.memory(report), "dim")
    written = [row[1] for row in run.files(report).rows if row[0] != "input"]
    yield from lines("Files", dict.fromkeys(written))


def _tried(report: Report) -> Iterator[RenderableType]:
    """What a search has tried."""
    found = tried.tried(report)
    if found is not None:
        yield line("Search", tried.told(report))
        yield shown(tried.ratios(found, tried.ELSEWHERE))
        for budget, words in tried.reasons(found):
            yield line(budget, words, "dim")


def _bypassed(report: Report) -> Iterator[RenderableType]:
    """The branches that were taken out."""
    names = [row[0] for row in run.branches(report, "bypassed").rows]
    if names:
        more = ", …" if len(names) > MOST_BRANCHES else ""
        count = f"{len(names):,} branch{'' if len(names) == 1 else 'es'}"
        yield line("Bypassed", f"{count}: {', '.join(names[:MOST_BRANCHES])}{more}")


def _reasons(report: Report, most: int) -> Iterator[RenderableType]:
    """Why channels are frozen, the largest reasons first."""
    found = facts.reasons(report)
    yield from lines("Frozen", map(_why, found[:most]))
    if len(found) > most:
        yield line("", f"{wording.plural(len(found) - most, 'reason')} more", "dim")


def _why(each: facts.Reason) -> str:
    words = f"{wording.plural(each.channels, 'channel')}: {each.reason} ({each.ops}"
    nodes = [wording.shorten(node, 48) for node in each.nodes[:MOST_NODES]]
    if not nodes:
        return f"{words})"
    return f"{words}; {', '.join(nodes)}{', …' if each.places > len(nodes) else ''})"


def _verdicts(report: Report) -> Iterator[RenderableType]:
    """The two verdicts, and what to type next."""
    for which, label in verdicts.LABELS.items():
        found = verdicts.word(report, which)
        if found is not None:
            yield line(label, verdicts.sentence(report, which), found.kind)
    command = verdicts.next_command(report)
    if command:
        yield line("Next", command, "title")


def _gates(report: Report) -> Iterator[RenderableType]:
    for gate in facts.gates(report):
        words = f"{gate.name} {'passed' if gate.passed else 'FAILED'}: {gate.sentence}"
        yield line("Gate", words, "good" if gate.passed else "bad")
    check = report.get("check")
    if check:
        yield line("Check", facts.check_words(check), "bad" if check["error"] else "dim")


def _warnings(report: Report) -> Iterator[RenderableType]:
    for words in report.get("warnings") or []:
        yield line("Warning", words, "warning")


def verified(report: Report) -> RenderableType:
    """Show how two models differ, every output's drift, and where equality cannot be asked for."""
    parts: list[RenderableType] = [summary(report)]
    outputs = moved.table(report)
    if len(outputs.rows) > 1:  # of one the summary has said it already
        parts += [Text(), shown(outputs)]
    found = [f"{each['op']} {each['node']}: {each['reason']}" for each in facts.lossy(report)]
    parts += [line("Lossy", words) for words in found[:MOST_LOSSY]]
    if len(found) > MOST_LOSSY:
        parts.append(line("", f"{wording.plural(len(found) - MOST_LOSSY, 'op')} more", "dim"))
    return Group(*parts)


def select(
    report: Report, *, groups: bool = False, frozen: bool = False, branches: bool = False
) -> Report:
    """Keep only what can be cut, what is frozen, or what may be bypassed; by default, keep all."""
    if groups == frozen == branches:
        return report
    chosen, asked = report.copy(), (groups, frozen)
    chosen["groups"] = [each for each in report["groups"] if asked[each["frozen"]]]
    if not frozen:
        chosen["frozen"] = []
    if not branches and "branches" in chosen:
        del chosen["branches"]
    return chosen


def inspected(report: Report) -> RenderableType:
    """Show a model's size, its groups, its branches and the reasons for what is frozen."""
    parts = [*_groups(report), *_branches(report)]
    parts += [*_reasons(report, MOST_REASONS_ALONE), *_warnings(report)]
    model = report.get("input")
    if not model:
        return Group(*parts)
    words = (
        f"{wording.count(model.get('params'))} parameters, "
        f"{wording.count(model.get('macs'))} MACs, "
        f"{wording.count(model.get('channels'))} channels that can be cut, "
        f"{wording.size(model.get('bytes'))}, opset {model.get('opset')}"
    )
    return Group(text(model.get("path") or "model", "title"), text(words), *parts)


def _groups(report: Report) -> list[RenderableType]:
    every = report.get("groups") or []
    if not every:
        filtered = report.get("branches") and not report["frozen"]
        return [] if filtered else [line("Groups", "none")]
    costs = [key for key in COSTS if any(g.get(key) is not None for g in every)]
    heads = ("Group", "Members", "Channels", *(COSTS[key] for key in costs), "")
    table = Table(heads, [_group(group, costs) for group in every], left=2)
    free = sum(not group["frozen"] for group in every)
    counts = f"{wording.plural(free, 'group')} can be cut, {len(every) - free:,} frozen"
    return [shown(table), line("Groups", counts)]


def _branches(report: Report) -> Iterator[RenderableType]:
    """What may be bypassed."""
    found = run.branches(report, "branches")
    if found:
        yield shown(found)
        held = sum(each["reason"] is not None for each in report.get("branches") or ())
        words = f"{len(found.rows) - held:,} can be bypassed"
        yield line("Branches", f"{words}, {held:,} kept" if held else words)


def _group(group: GroupFacts, costs: list[str]) -> tuple[str, ...]:
    members = group["members"]
    first = wording.shorten(members[0]["tensor"], 40) if members else wording.NOTHING
    return (
        wording.shorten(wording.printable(group["name"]), 48),
        first if len(members) < 2 else f"{first} +{len(members) - 1}",
        f"{group['channels_before']:,}",
        *(wording.count(group.get(key)) for key in costs),  # type: ignore[arg-type]
        Cell(f"frozen: {group['reason']}", "dim") if group["frozen"] else "",
    )
