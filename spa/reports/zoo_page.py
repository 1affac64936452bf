"""The summary of a zoo as HTML, as Markdown for a job summary, as JUnit XML and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from spa.reports import verdicts, wording
from spa.reports.pages import Case, suite
from spa.reports.plot import Axis, Dot, scatter
from spa.reports.template import render
from spa.reports.wording import Cell, Table
from spa.reports.zoo import MEANINGS, Reason, Row, Zoo, is_failure
from spa.validate.quality import GOOD_DRIFT

MOST_NAMES = 5
COLUMNS = tuple(name for name in Row.__annotations__ if name not in ("transient", "warnings"))
VIEWS: dict[str, Callable[[Row], str]] = {
    "Model": lambda row: Cell(row["name"], "code"),
    "Status": lambda row: row["status"],
    "Size": lambda row: wording.size(row["bytes_after"] or row["bytes_before"]),
    "Change": lambda row: change(row, "bytes"),
    "Parameters": lambda row: change(row, "params"),
    "MACs": lambda row: change(row, "macs"),
    "Quality": lambda row: verdicts.cell(row["quality"]),
    "Drift": lambda row: wording.measure(row["drift"]),
    "Score before": lambda row: wording.score(row["score_before"]),
    "Score": lambda row: wording.score(row["score_after"]),
    "Latency": lambda row: wording.milliseconds(row["after_ms"]),
    "Speed": lambda row: wording.factor(row["speedup"]),
}


def to_csv(zoo: Zoo) -> str:
    """One line per model, with figures as they are."""
    rows = [
        (*(row[name] for name in COLUMNS), " | ".join(map(wording.printable, row["warnings"])))  # type: ignore[literal-required]
        for row in zoo["models"]
    ]
    return wording.to_csv((*COLUMNS, "warnings"), rows)


def to_html(zoo: Zoo) -> str:
    """Write the whole page."""
    rows = [row for row in zoo["models"] if row["status"] == "pruned"]
    size = Axis("parameters that are left, %", linear=True)
    drift = Axis(wording.DRIFT, mark=GOOD_DRIFT)
    speed = Axis("speed-up (latency before / after)", mark=1.0)
    plots = {
        "Size against drift": scatter(_dots(rows, "drift"), size, drift),
        "Size against latency": scatter(_dots(rows, "speedup"), size, speed),
    }
    found = [(title, plot) for title, plot in plots.items() if plot]
    bad = sum(is_failure(row, zoo["accepted"]) for row in zoo["models"])
    return _page("zoo.html", zoo, plots=found, failed=bad)


def to_markdown(zoo: Zoo) -> str:
    """Totals, reasons, and a table of the models."""
    return _page("zoo.md", zoo)


def _page(name: str, zoo: Zoo, **more: object) -> str:
    """A page of what all pages show."""
    tables = {"totals": totals(zoo), "models": models(zoo), "examples": examples}
    return render(name, zoo=zoo, headline=headline(zoo), **tables, **more)


def to_junit(zoo: Zoo) -> str:
    """One test per model: what is accepted without being pruned is skipped."""
    cases = [_case(row, zoo["accepted"]) for row in zoo["models"]]
    cases += [Case(name, "skipped", "not tried") for name in zoo["pending"]]
    return suite("spa zoo", "spa.zoo", cases, zoo["model_seconds"])


def _case(row: Row, accepted: Sequence[str]) -> Case:
    status = row["status"]
    if status == "pruned":
        good = row["quality"] == "good"
        said = "" if good else f"pruned, its quality is {row['quality'] or 'unknown'}"
        return Case(row["name"], "passed" if good else "skipped", said, row["seconds"])
    missed = "failure" if status in ("unchanged", "missed") else "error"
    outcome = missed if is_failure(row, accepted) else "skipped"
    said = row["error"] or MEANINGS[status]
    return Case(row["name"], outcome, said, row["seconds"], status)  # type: ignore[arg-type]


def headline(zoo: Zoo) -> str:
    """How many models, and what became of them."""
    total = zoo["totals"]
    levels = ", ".join(f"{count} {level}" for level, count in zoo["quality"].items() if count)
    said = {"pruned": f" ({levels})"} if levels else {}
    parts = [f"{total[s]} {s}{said.get(s, '')}" for s in (*MEANINGS, "pending") if total[s]]
    return f"{wording.plural(total['models'], 'model')}: {', '.join(parts) or 'none'}"


def totals(zoo: Zoo) -> Table:
    """Each status that occurs: how often, and what it means."""
    meanings = [*MEANINGS.items(), ("pending", "not tried")]
    rows = [(s, str(zoo["totals"][s]), m) for s, m in meanings if zoo["totals"][s]]
    return Table(("Status", "Models", "Meaning"), rows, left=3)


def models(zoo: Zoo, without: Sequence[str] = ()) -> Table:
    """The models as people read them; what was not measured is a dash.

    Scores have columns only where a check gave any.
    """
    scored = any(row["score_before"] is not None for row in zoo["models"])
    heads = [h for h in VIEWS if h not in without and (scored or not h.startswith("Score"))]
    rows = []
    for row in zoo["models"]:
        kind = "bad" if is_failure(row, zoo["accepted"]) else "dim"
        status = Cell(row["status"], "good" if row["status"] == "pruned" else kind)
        cells = [VIEWS[head](row) for head in heads]
        rows.append((cells[0], status, *cells[2:]))
    return Table(heads, rows, left=2)


def change(row: Row, of: str) -> str:
    """The change of a size, as in -25.0%."""
    return wording.change(share_removed(row, of))


def share_removed(row: Row, of: str) -> float | None:
    """The share of bytes, params or macs that is gone."""
    before, after = row[f"{of}_before"], row[f"{of}_after"]  # type: ignore[literal-required]
    return 1 - after / before if before and after is not None else None


def examples(reason: Reason) -> str:
    """The first models that a reason is about."""
    names = reason["models"]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _dots(rows: Iterable[Row], of: str) -> list[Dot]:
    dots = []
    for row in rows:
        removed, value = share_removed(row, "params"), row[of]  # type: ignore[literal-required]
        if removed is not None and value is not None:
            bad = value > GOOD_DRIFT if of == "drift" else value < 1
            dots.append(Dot(100 * (1 - removed), value, _title(row), "warn" if bad else None))
    return dots


def _title(row: Row) -> str:
    size = f"{wording.size(row['bytes_before'])} → {wording.size(row['bytes_after'])}"
    before, after = wording.milliseconds(row["before_ms"]), wording.milliseconds(row["after_ms"])
    return f"{row['name']}: {size}, drift {wording.measure(row['drift'])}, {before} → {after}"
