"""Whether a line of the manifest is still true, without reading more than is needed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from spa.errors import SpaError
from spa.zoo import remote
from spa.zoo.manifest import Line
from spa.zoo.model import Job, Layout
from spa.zoo.paths import is_url, sha256, stamp


def is_settled(line: Line, job: Job, layout: Layout) -> bool:
    """Whether a line still holds, as long as the model is the same."""
    if line["options"] != job.options or line["expected"] != job.sha256:
        return False
    if line["row"]["transient"]:
        return False
    return all(is_intact(layout.dest / path, known) for path, known in line["output"].items())


def is_intact(path: Path, known: Mapping[str, str]) -> bool:
    """Whether a result is still what the manifest says of it."""
    try:
        now = stamp(path)
        same_size = now.split("-")[0] == known["stamp"].split("-")[0]
        return now == known["stamp"] or (same_size and sha256(path) == known["sha256"])
    except OSError:
        return False


def is_unchanged(line: Line, job: Job) -> bool:
    """Whether the source looks as it did, so that it need not be read again."""
    if line["source"] != job.source or not line["stamps"]:
        return False
    try:
        return all(_stamp_at(job.source, at) == known for at, known in line["stamps"].items())
    except (OSError, SpaError):
        return False


def _stamp_at(source: str, location: str) -> str | None:
    """The stamp of a model (".") or of a data file beside it."""
    if is_url(source):
        return remote.stamp(beside_url(source, location))
    return stamp(Path(source) if location == "." else Path(source).parent / location)


def beside_url(url: str, location: str) -> str:
    """The URL of a data file of the model at `url`, which itself is "."."""
    return url if location == "." else posixpath.join(posixpath.dirname(url), location)
