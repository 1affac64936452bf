"""The running account of a command: stages timed and announced, the report filled on the way."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spa.events import Advance, Done, Note, Started, Tell, counted_in, unheard
from spa.latency import Whole
from spa.probes import Data, Held, Probe
from spa.reports.schema import empty_report
from spa.reports.wording import printable

PACKAGES = (
    "onnx",
    "numpy",
    "scipy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx-graphsurgeon",
    "click",
    "rich",
)


class Journal:
    """Holds the report of a run; whatever raises leaves with the report as far as it got."""

    def __init__(
        self, command: str, tell: Tell, output: str | os.PathLike[str] | None = None
    ) -> None:
        self.report: dict[str, Any] = dict(empty_report(command))
        self.tell = tell
        self.name = "model.onnx" if output is None else Path(output).name  # of what is made
        self.data: Data | Held | None = None  # given to take inputs from, once it was looked at
        self.probe: Probe | None = None  # where inputs come from, once somebody has asked
        self.feeds: list[dict[str, Any]] = []  # those to fit on
        self.whole: Whole | None = None  # the model, ready to be timed, once it has been
        self._began = time.perf_counter()
        self._stages: list[str] = []  # those that run, the innermost last

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time a stage and announce its beginning and end."""
        self.tell(Started(name, total))
        self._stages.append(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stages.pop()
            spent = time.perf_counter() - began
            timings = self.report["timings"]
            timings[name] = timings.get(name, 0.0) + spent
            self.tell(Done(name, spent))

    def counted(self, total: int | None, unit: str) -> Advance:
        """Count steps of the stage that runs, see `spa.events.Counted`."""
        return counted_in(self._stages[-1], self.tell)(total, unit) if self._stages else unheard

    def warn(self, message: str) -> None:
        """Note something a person should know."""
        message = printable(message)
        self.report["warnings"].append(message)
        self.tell(Note(message, warning=True))

    def note(self, message: str) -> None:
        """Keep a decision spa took by itself, once."""
        message = printable(message)
        notes = self.report.setdefault("notes", [])
        if message not in notes:
            notes.append(message)
            self.tell(Note(message))

    @contextmanager
    def written(self) -> Iterator[None]:
        """Attach the report to what is raised inside, and close the account.

        Numbers that are not finite are looked for where they matter; numpy says nothing of them
        (kernels of some BLAS raise the flag where nothing is wrong).
        """
        try:
            with np.errstate(all="ignore"):
                yield
        except BaseException as error:  # an interrupt or a bug, too, leaves with what is known
            self.close()
            error.report = self.report  # type: ignore[attr-defined]
            raise
        else:
            self.close()

    def close(self) -> None:
        """Add total time, peak memory and versions."""
        self.report["timings"]["total"] = time.perf_counter() - self._began
        self.report["peak_rss_bytes"] = peak_memory()
        self.report["versions"] = versions()

    def succeed(self, status: str = "ok") -> dict[str, Any]:
        """The finished report."""
        self.report["status"], self.report["exit_code"] = status, 0
        return self.report


def peak_memory() -> int | None:
    """Largest resident size of this process so far, bytes (None where the system does not tell)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def versions() -> dict[str, str]:
    """Versions of what took part."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
