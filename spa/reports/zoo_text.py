"""The summary of a zoo as CSV, as Markdown for a job summary, and as JUnit XML for a CI server."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from spa.reports import wording
from spa.reports.zoo import MEANINGS, Reason, Row, Zoo, is_failure

MOST_NAMES = 5
COLUMNS = tuple(name for name in Row.__annotations__ if name not in ("transient", "warnings"))


def to_csv(zoo: Zoo) -> str:
    """One line per model, with figures as they are."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow((*COLUMNS, "warnings"))
    for row in zoo["models"]:
        cells = [row[name] for name in COLUMNS]  # type: ignore[literal-required]
        printable = [wording.printable(c) if isinstance(c, str) else c for c in cells]
        writer.writerow((*printable, " | ".join(map(wording.printable, row["warnings"]))))
    return made.getvalue()


def to_markdown(zoo: Zoo) -> str:
    """Totals, reasons, and a table of the models."""
    sections = (
        f"# spa zoo: {headline(zoo)}",
        _safe(zoo["error"]) if zoo["error"] else "",
        _table(("Status", "Models", "Meaning"), totals(zoo)),
        _table(
            ("Models", "Exit code", "Reason", "For example"), list(map(_reason, zoo["reasons"]))
        ),
        _table(heads(zoo), [cells(row, heads(zoo)) for row in zoo["models"]]),
        _pending(zoo),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


VIEWS: dict[str, Callable[[Row], str]] = {
    "Model": lambda row: row["name"],
    "Status": lambda row: row["status"],
    "Size": lambda row: wording.size(row["bytes_after"] or row["bytes_before"]),
    "Change": lambda row: change(row, "bytes"),
    "Parameters": lambda row: change(row, "params"),
    "MACs": lambda row: change(row, "macs"),
    "Drift": lambda row: wording.measure(row["drift"]),
    "Score before": lambda row: wording.score(row["score_before"]),
    "Score": lambda row: wording.score(row["score_after"]),
    "Latency": lambda row: wording.milliseconds(row["after_ms"]),
    "Speed": lambda row: wording.factor(row["speedup"]),
}


def heads(zoo: Zoo) -> tuple[str, ...]:
    """The columns of the table of models; scores only where a check gave any."""
    scored = any(row["score_before"] is not None for row in zoo["models"])
    return tuple(head for head in VIEWS if scored or not head.startswith("Score"))


def cells(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """A model as people read it; what was not measured is a dash."""
    return tuple(VIEWS[head](row) for head in columns)


def change(row: Row, of: str) -> str:
    """The change of a size, as in -25.0%."""
    removed = share_removed(row, of)
    return wording.change(removed)


def share_removed(row: Row, of: str) -> float | None:
    """The share of bytes, params or macs that is gone."""
    before, after = row[f"{of}_before"], row[f"{of}_after"]  # type: ignore[literal-required]
    return 1 - after / before if before and after is not None else None


def headline(zoo: Zoo) -> str:
    """How many models, and what became of them."""
    total = zoo["totals"]
    parts = [f"{total[s]} {s}" for s in (*MEANINGS, "pending") if total[s]]
    return f"{wording.plural(total['models'], 'model')}: {', '.join(parts) or 'none'}"


def totals(zoo: Zoo) -> list[tuple[str, str, str]]:
    """Each status that occurs: how often, and what it means."""
    meanings = [*MEANINGS.items(), ("pending", "not tried")]
    return [(s, str(zoo["totals"][s]), m) for s, m in meanings if zoo["totals"][s]]


def examples(reason: Reason) -> str:
    """The first models that a reason is about."""
    names = reason["models"]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _reason(reason: Reason) -> tuple[str, ...]:
    count, code = str(len(reason["models"])), f"{reason['exit_code']} {reason['status']}"
    return count, code, reason["reason"], examples(reason)


def _pending(zoo: Zoo) -> str:
    return f"Not tried: {_safe(', '.join(zoo['pending']))}" if zoo["pending"] else ""


def _table(heads: tuple[str, ...], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = (heads, ("---",) * len(heads), *(tuple(map(_safe, row)) for row in rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _safe(words: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", wording.printable(words))


def to_junit(zoo: Zoo) -> str:
    """One test per model: what is accepted without being pruned is skipped."""
    rows = zoo["models"]
    kinds = [_kind(row, zoo) for row in rows]
    suite = ElementTree.Element(
        "testsuite",
        name="spa zoo",
        tests=str(len(rows) + len(zoo["pending"])),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped") + len(zoo["pending"])),
        time=f"{zoo['model_seconds']:.3f}",
    )
    for row, kind in zip(rows, kinds, strict=True):
        case = _case(suite, row["name"], row["seconds"])
        if kind:
            words = wording.printable(row["error"] or MEANINGS[row["status"]])
            ElementTree.SubElement(case, kind, message=words, type=row["status"])
    for name in zoo["pending"]:
        ElementTree.SubElement(_case(suite, name, 0.0), "skipped", message="not tried")
    ElementTree.indent(suite)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, seconds: float) -> ElementTree.Element:
    words = wording.printable(name)
    return ElementTree.SubElement(
        suite, "testcase", classname="spa.zoo", name=words, time=f"{seconds:.3f}"
    )


def _kind(row: Row, zoo: Zoo) -> str:
    if row["status"] == "pruned":
        return ""
    if not is_failure(row, zoo["accepted"]):
        return "skipped"
    return "failure" if row["status"] in ("unchanged", "missed") else "error"
