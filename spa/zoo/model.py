"""What the zoo's parts hand to each other: jobs, settings, and what happens while they run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spa.errors import SpaError
from spa.reports.zoo import Row


@dataclass(frozen=True)
class Found:
    """One model of a source.

    Attributes:
        name: where the result goes, a path with `/` below the destination.
        source: an absolute path or a URL.
        size: bytes, as far as they are known before the model is read.
        sha256: what the file's hash must be.
        options: options of this model that its list states.
        error: why nothing can be made of it, if that is known already.
    """

    name: str
    source: str
    size: int = 0
    sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    error: SpaError | None = None


@dataclass(frozen=True)
class Job:
    """All that a worker, here or elsewhere, must know to prune one model.

    Attributes:
        recipe: the options of `spa prune`, as JSON can carry them.
        options: hash of all that decides, besides the model, what comes out.
        dest: the destination as every worker sees it.
        timeout: seconds that one attempt may take.
        memory: resident bytes that one attempt may hold.
        retries: how often a crash is tried again.
        force: whether to prune what is known already.
        stop: a file whose appearance ends the job.
        refused: exit code and sentence of what cannot be worked on at all.
    """

    name: str
    source: str
    size: int
    sha256: str | None
    recipe: Mapping[str, Any]
    options: str
    dest: str
    timeout: float | None = None
    memory: int | None = None
    retries: int = 1
    force: bool = False
    stop: str | None = None
    refused: tuple[int, str] | None = None


@dataclass(frozen=True)
class Layout:
    """Where things lie in a destination; everything but the models is below `.zoo`."""

    dest: Path

    @property
    def inside(self) -> Path:
        """The folder of the zoo's own files."""
        return self.dest / ".zoo"

    @property
    def manifest(self) -> Path:
        """What was done, one line per model."""
        return self.inside / "manifest.jsonl"

    def lock(self, name: str) -> Path:
        """Held by whoever works on this model."""
        return self.inside / "locks" / _short(name)

    def work(self, name: str) -> Path:
        """Where everything about this model lies until it is complete."""
        return self.inside / "work" / _short(name)

    def intent(self, name: str) -> Path:
        """Which files are about to take their places, until the manifest says so."""
        return self.inside / "intents" / _short(name)

    def written(self, name: str) -> Path:
        """Which files this model has in the destination, should the manifest lose its line."""
        return self.inside / "written" / _short(name)

    def summary(self, file: str) -> Path:
        """Says that a summary file of this name is the zoo's."""
        return self.inside / "summaries" / file

    def changed(self, name: str) -> Path:
        """Where a result goes that somebody changed, once another takes its place."""
        return self.inside / "changed" / name

    def report(self, name: str) -> Path:
        """The report of `spa prune` about this model."""
        return self.inside / "reports" / f"{name}.json"

    def log(self, name: str) -> Path:
        """What the process said, kept where it broke down."""
        return self.inside / "logs" / f"{name}.log"


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]


@dataclass(frozen=True)
class Begun:
    """A worker of this machine takes up a model."""

    name: str


@dataclass(frozen=True)
class Ended:
    """A model is done; `reused` says that an earlier run had done it."""

    row: Row
    reused: bool
    done: int
    total: int


Happening = Begun | Ended
Listen = Callable[[Happening], None]


def deaf(happening: Happening) -> None:
    """The listener of those who do not want to hear."""
