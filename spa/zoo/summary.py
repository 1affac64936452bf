"""The summary files in a destination, each complete or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spa.reports.json import to_json
from spa.reports.zoo import Zoo
from spa.reports.zoo_page import to_csv, to_html, to_junit, to_markdown
from spa.storage import refused, replaced
from spa.zoo.lock import held
from spa.zoo.model import Layout

FORMATS: dict[str, Callable[..., str]] = {
    "json": to_json,
    "csv": to_csv,
    "md": to_markdown,
    "html": to_html,
    "xml": to_junit,
}

ADVICE = "make room there and run it again, which keeps what is done"


def names(part: str | None) -> list[str]:
    """What the files are called; shards have files of their own."""
    stem = "summary" + (f".{part.replace('/', '-of-')}" if part else "")
    return [f"{stem}.{suffix}" for suffix in FORMATS]


def write(zoo: Zoo, dest: Path) -> list[Path]:
    """Write the summary in every format.

    Raises:
        UsageError: there is no room for it.
    """
    made = []
    with refused(dest, "the summary in", ADVICE), held(Layout(dest).inside / "summary.lock"):
        for name, write_as in zip(names(zoo["shard"]), FORMATS.values(), strict=True):
            contents = write_as(zoo).encode("utf-8", "replace")
            replaced(dest / name, contents, "the summary", ADVICE)
            made.append(dest / name)
    return made
