"""The summary files in a destination, each complete or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spa.reports.json import to_json
from spa.reports.zoo import Zoo
from spa.reports.zoo_html import to_html
from spa.reports.zoo_text import to_csv, to_junit, to_markdown
from spa.zoo.lock import held
from spa.zoo.model import Layout

FORMATS: dict[str, Callable[[Zoo], str]] = {
    "json": to_json,
    "csv": to_csv,
    "md": to_markdown,
    "html": to_html,
    "xml": to_junit,
}


def write(zoo: Zoo, dest: Path) -> list[Path]:
    """Write the summary in every format; shards have files of their own."""
    stem = "summary" + (f".{zoo['shard'].replace('/', '-of-')}" if zoo["shard"] else "")
    inside = Layout(dest).inside
    made = []
    with held(inside / "summary.lock"):
        for suffix, write_as in FORMATS.items():
            target = dest / f"{stem}.{suffix}"
            beside = inside / target.name
            with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(write_as(zoo))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
            made.append(target)
    return made
