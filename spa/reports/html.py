"""The report as one HTML page: no script, no network, nothing beside it, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spa.reports import facts, latency, moved, wording
from spa.reports.html_bars import Bar, bars, legend, stack
from spa.reports.html_page import page
from spa.reports.html_style import STYLE
from spa.reports.markup import Child, Markup, element, join
from spa.reports.schema import GroupFacts, Report

MOST_GROUPS = 400
MOST_REASONS = 40


def to_html(report: Report) -> str:
    """Write the whole page."""
    body = element(
        "main",
        _head(report),
        _error(report),
        _tiles(report),
        _warnings(report),
        _comparison(report),
        _verification(report),
        _budget(report),
        _groups(report),
        _frozen(report),
        _costs(report),
        _notes(report),
        _foot(report),
    )
    return page(f"spa {report['command']}: {facts.model_name(report)}", STYLE, body)


def _head(report: Report) -> Markup:
    tone = {"ok": "pill", "dry-run": "pill plain"}.get(report["status"], "pill bad")
    return element(
        "header",
        element("h1", facts.model_name(report)),
        element("span", report["status"], class_=tone),
        element("span", f"spa {report['command']} · {report['spa_version']}", class_="dim"),
    )


def _error(report: Report) -> Markup | None:
    if not report.get("error"):
        return None
    code = element("p", f"Exit code {report['exit_code']}", class_="dim")
    return element("section", element("p", report["error"]), code, class_="card stop")


def _tiles(report: Report) -> Markup | None:
    tiles = [
        element(
            "div",
            element("span", each.label),
            element("b", each.value, class_=each.tone),
            element("span", each.detail),
            class_="tile",
        )
        for each in facts.headlines(report)
    ]
    return element("div", *tiles, class_="tiles") if tiles else None


def _warnings(report: Report) -> Markup | None:
    return _lines("warning", report.get("warnings") or (), "card note")


def _notes(report: Report) -> Markup | None:
    return _lines("note", report.get("notes") or (), "card")


def _lines(noun: str, words: Sequence[str], kind: str) -> Markup | None:
    if not words:
        return None
    title = element("h2", wording.plural(len(words), noun))
    lines = [element("li", line) for line in words]
    return element("section", title, element("ul", *lines), class_=kind)


def _comparison(report: Report) -> Markup | None:
    rows = [
        (row.label, row.before, row.after, element("span", row.change, class_=row.tone))
        for row in facts.comparison(report)
    ]
    return _card("Original and pruned", _table(("", "Original", "Pruned", "Change"), rows, 3))


def _verification(report: Report) -> Markup | None:
    verify = report.get("verify")
    if not (verify or report.get("gates") or report.get("check")):
        return None
    tone = "plain" if not verify else "good" if verify["passed"] else "bad"
    rows = [
        (_code(each.name), each.said, wording.measure(each.cosine))
        for each in moved.outputs(report)
    ]
    return _card(
        "Verification",
        element("p", element("span", facts.verdict(report), class_=tone)),
        _table(("Output", wording.DRIFT_TITLE, "Cosine"), rows, 2),
        _lossy(report),
        _gates(report),
        _check(report),
    )


def _budget(report: Report) -> Markup | None:
    words = [element("p", each) for each in latency.sentences(report)]
    return _card("Latency as a budget", *words) if words else None


def _check(report: Report) -> Markup | None:
    check = facts.check(report)
    if check is None:
        return None
    why = None if check.passed else element("span", f" {check.error}", class_="bad")
    return element("p", "Checked with ", _code(check.command), why)


def _lossy(report: Report) -> Markup | None:
    rows = [(each["op"], _code(each["node"]), each["reason"]) for each in facts.lossy(report)]
    if not rows:
        return None
    title = f"{wording.plural(len(rows), 'op')} behind which equality cannot hold"
    return element("details", element("summary", title), _table(("Op", "Node", "Why"), rows))


def _gates(report: Report) -> Markup | None:
    rows = [
        (
            gate.name,
            element(
                "span",
                "passed" if gate.passed else "failed",
                class_="good" if gate.passed else "bad",
            ),
            gate.limit,
            gate.measured,
        )
        for gate in facts.gates(report)
    ]
    return _table(("Gate", "Result", "Limit", "Measured"), rows, 2)


def _groups(report: Report) -> Markup | None:
    groups = facts.groups(report)
    every = [group for group in report.get("groups") or [] if group["channels_before"]]
    if not every:
        return None
    shown = bars([_bar(group) for group in every[:MOST_GROUPS]])
    hidden = len(every) - MOST_GROUPS
    return _card(
        "Groups",
        element("p", f"{groups.sentence}."),
        legend((("kept", "channels kept"), ("gone", "channels removed"), ("frozen", "frozen"))),
        shown,
        element("p", f"{hidden:,} more are in the JSON report.") if hidden > 0 else None,
    )


def _bar(group: GroupFacts) -> Bar:
    before, after = group["channels_before"], group["channels_after"]
    value = f"{before:,} → {after:,}" if after < before else f"{before:,}"
    members = [member["tensor"] for member in group["members"][:12]]
    more = len(group["members"]) - len(members)
    title = "; ".join([group["name"], *members, *([f"{more} more"] if more else [])])
    if group["frozen"]:
        title = f"{group['name']}: frozen, {group['reason']}"
    word = "frozen" if group["frozen"] else wording.change(1 - after / before)
    tone = "frozen" if group["frozen"] else "kept"
    return Bar(group["name"], before, after, value, word, tone, title)


def _frozen(report: Report) -> Markup | None:
    reasons = facts.reasons(report)
    rows = [
        (each.reason, each.ops, f"{each.channels:,}", _examples(each))
        for each in reasons[:MOST_REASONS]
    ]
    title = "What is frozen, and why"
    return _card(title, _table(("Reason", "Ops", "Channels", "For example"), rows))


def _examples(reason: facts.Reason) -> Markup:
    nodes = [_code(node) for node in reason.nodes]
    more = reason.places - len(nodes)
    words = [join(node, " ") for node in nodes]
    return join(*words, f"and {more:,} more" if more > 0 and nodes else None)


def _costs(report: Report) -> Markup | None:
    cards = [card for card in (_latency(report), _timings(report)) if card]
    return element("div", *cards, class_="columns") if cards else None


def _latency(report: Report) -> Markup | None:
    latency = report.get("latency")
    if not latency or not latency.get("before_ms") or not latency.get("after_ms"):
        return None
    before, after = latency["before_ms"] or 0.0, latency["after_ms"] or 0.0
    change = wording.factor(latency["speedup"], latency.get("low"), latency.get("high"))
    lines = (
        Bar("original", before, before, wording.milliseconds(before), "", "frozen"),
        Bar("pruned", after, after, wording.milliseconds(after), change),
    )
    threads = wording.plural(latency["threads"], "thread") if latency["threads"] else None
    how = [latency["provider"], threads, f"median of {wording.plural(latency['runs'], 'run')}"]
    return _card("Latency", bars(lines), element("p", ", ".join(filter(None, how)), class_="dim"))


def _timings(report: Report) -> Markup | None:
    spent = facts.timings(report)
    if not spent:
        return None
    words = f"{wording.seconds(facts.total_seconds(report))} in total"
    if report.get("peak_rss_bytes"):
        words += f", at most {wording.size(report['peak_rss_bytes'])} of memory"
    parts = [(stage, took, wording.seconds(took)) for stage, took in spent]
    return _card("Time", element("p", words), stack(parts))


def _foot(report: Report) -> Markup:
    models = (("input", facts.model(report, "input")), ("output", facts.model(report, "output")))
    lines = [
        element("p", f"{label} ", _code(model["path"]), *_hash(model.get("sha256")))
        for label, model in models
        if model.get("path")
    ]
    versions = " · ".join(f"{name} {number}" for name, number in report["versions"].items())
    return element("footer", *lines, element("p", versions) if versions else None)


def _hash(digest: str | None) -> tuple[Child, ...]:
    return (" sha256 ", _code(digest)) if digest else ()


def _card(title: str, *children: Child) -> Markup | None:
    content = join(*children)
    return element("section", element("h2", title), content, class_="card") if content else None


def _table(head: Sequence[str], rows: Iterable[Sequence[Child]], numbers: int = 0) -> Markup | None:
    """Build a table whose last `numbers` columns are set to the right."""
    first = len(head) - numbers
    styles = [None if column < first else "number" for column in range(len(head))]
    lines = [
        element("tr", *(element("td", c, class_=s) for c, s in zip(row, styles, strict=True)))
        for row in rows
    ]
    if not lines:
        return None
    titles = (element("th", t, class_=s) for t, s in zip(head, styles, strict=True))
    return element("table", element("tr", *titles), *lines)


def _code(text: object) -> Markup:
    return element("code", wording.printable(text))
