"""The report for a pull request or a job summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spa.reports import facts, latency, moved, wording
from spa.reports.schema import GroupFacts, Report

MOST_GROUPS = 200
MOST_REASONS = 20


def to_markdown(report: Report) -> str:
    """Write the report as GitHub-flavoured Markdown."""
    sections = (
        _head(report),
        _table(("", "Original", "Pruned", "Change"), _comparison(report), numbers=True),
        _verification(report),
        _list("Latency as a budget", latency.sentences(report)),
        _groups(report),
        _frozen(report),
        _list("Warnings", report.get("warnings") or ()),
        _list("Notes", report.get("notes") or ()),
        _timings(report),
        _files(report),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(report: Report) -> str:
    title = f"# spa {_safe(report['command'])}: {_safe(facts.model_name(report))}"
    if report.get("error"):
        return f"{title}\n\n**{_safe(report['status'])}**, exit code {report['exit_code']}: " + (
            _safe(report["error"])
        )
    points = [f"**{h.label}** {_safe(h.value)}" for h in facts.headlines(report)]
    return f"{title}\n\n{' · '.join([_safe(report['status']), *points])}"


def _comparison(report: Report) -> list[Sequence[str]]:
    return [(r.label, r.before, r.after, r.change) for r in facts.comparison(report)]


def _verification(report: Report) -> str:
    check = facts.check(report)
    if not (report.get("verify") or report.get("gates") or check):
        return ""
    rows = [(each.name, each.said, wording.measure(each.cosine)) for each in moved.outputs(report)]
    gates = [
        (each.name, each.limit, each.measured, "yes" if each.passed else "NO")
        for each in facts.gates(report)
    ]
    parts = [
        f"## Verification\n\n{_safe(facts.verdict(report))}",
        _table(("Output", wording.DRIFT_TITLE, "Cosine"), rows, numbers=True),
        _table(("Gate", "Limit", "Measured", "Passed"), gates),
        _safe(f"Checked with {check.sentence}") if check else "",
        _list("", [f"{x['op']} {x['node']}: {x['reason']}" for x in facts.lossy(report)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _groups(report: Report) -> str:
    groups = facts.groups(report)
    every = [*groups.pruned, *groups.whole]
    if not every and not groups.frozen:
        return ""
    rows = [
        (g["name"], f"{g['channels_before']:,}", f"{g['channels_after']:,}", _loss(g))
        for g in every[:MOST_GROUPS]
    ]
    hidden = len(every) - len(rows)
    more = f"\n\n{hidden:,} more are in the JSON report." if hidden else ""
    table = _table(("Group", "Before", "After", "Change"), rows, numbers=True)
    return f"## Groups\n\n{groups.sentence}.\n\n{table}{more}".rstrip()


def _loss(group: GroupFacts) -> str:
    before = group["channels_before"]
    return wording.change(1 - group["channels_after"] / before if before else None)


def _frozen(report: Report) -> str:
    reasons = facts.reasons(report)
    rows = [
        (r.reason, r.ops, f"{r.channels:,}", ", ".join(r.nodes)) for r in reasons[:MOST_REASONS]
    ]
    table = _table(("Reason", "Ops", "Channels", "For example"), rows)
    return f"## Frozen\n\n{table}" if rows else ""


def _timings(report: Report) -> str:
    rows = [(stage, wording.seconds(took)) for stage, took in facts.timings(report)]
    if rows:
        rows.append(("total", wording.seconds(facts.total_seconds(report))))
    table = _table(("Stage", "Time"), rows, numbers=True)
    return f"## Timings\n\n{table}" if rows else ""


def _files(report: Report) -> str:
    models = (("input", facts.model(report, "input")), ("output", facts.model(report, "output")))
    rows = [
        (label, str(model["path"]), str(model.get("sha256") or wording.NOTHING))
        for label, model in models
        if model.get("path")
    ]
    table = _table(("File", "Path", "SHA-256"), rows)
    return f"## Files\n\n{table}" if rows else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    body = [f"| {' | '.join(map(_safe, row))} |" for row in rows]
    if not body:
        return ""
    rule = ["---", *(["---:" if numbers else "---"] * (len(head) - 1))]
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join(rule)} |", *body])


def _list(title: str, lines: Iterable[str]) -> str:
    items = "\n".join(f"- {_safe(line)}" for line in lines)
    if not items:
        return ""
    return f"## {title}\n\n{items}" if title else items


def _safe(text: object) -> str:
    """Escape what Markdown or HTML would read as markup."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", wording.printable(text))
