"""Who carries jobs out: an engine is a file here, and all of them call the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Protocol, cast

from spa.zoo.model import Job
from spa.zoo.work import Answer


class Engine(Protocol):
    """Something that runs `work` on jobs, in their order as far as it can."""

    def results(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer | None]]:
        """Yield every job when it has ended; None says that somebody else is at it."""

    def stop(self) -> None:
        """End what runs and start nothing more; returns when nothing runs here."""

    def close(self) -> None:
        """Let go of workers and connections."""


def engine_of(name: str, *, jobs: int, address: str | None, begun: Callable[[str], None]) -> Engine:
    """The engine of a name.

    Args:
        name: a module of this package.
        jobs: how many models at once, where the engine is this machine.
        address: where the cluster answers.
        begun: hears when a job begins, where that can be seen.

    Raises:
        ReadError: the engine's package is missing or nobody answers.
    """
    module = import_module(f"spa.zoo.engines.{name}")
    return cast(Engine, module.connect(jobs=jobs, address=address, begun=begun))
