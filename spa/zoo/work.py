"""The one function that every engine calls: make sure that one model is done, and say how it went.

It may be called again after any accident.  Results come into being in a folder that nobody looks
into, are moved to their place when complete, and only then does the manifest get its line.
"""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spa._version import __version__
from spa.errors import SpaError, UsageError
from spa.reports.zoo import Row
from spa.storage import move
from spa.zoo import child, remote
from spa.zoo.deliver import Places
from spa.zoo.lock import claimed
from spa.zoo.manifest import Line, Manifest, beside_url, is_settled, is_unchanged, manifest_of
from spa.zoo.model import Job, Layout
from spa.zoo.paths import is_inside, is_url
from spa.zoo.rows import broken, failed, row_of

Stopped = Callable[[], bool]


@dataclass(frozen=True)
class Answer:
    """What is known about a model now; `reused` if it was known before."""

    row: Row
    reused: bool


class Stop(Exception):
    """The run is over before this model was."""


def never() -> bool:
    """Nobody stops this job."""
    return False


def work(job: Job, stopped: Stopped = never) -> Answer | None:
    """Prune one model unless that is done; None while another process is at it.

    Raises:
        Stop: `stopped` said so; nothing is left behind.
    """
    layout = Layout(Path(job.dest))
    if job.refused is not None:
        code, words = job.refused
        return Answer(failed(job, code, words, transient=True), reused=False)
    with claimed(layout.lock(job.name)) as lock:
        if lock is None:
            return None
        manifest = manifest_of(layout.manifest)
        last = manifest.find(job.name)
        # What a killed run was about to write may be there in part.
        line = None if job.force or layout.intent(job.name).exists() else last
        if line is not None and not is_settled(line, job, layout):
            line = None
        if line is not None and is_unchanged(line, job):
            return Answer(line["row"], reused=True)
        folder = layout.work(job.name)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            places = Places(layout, job.name, last)
            folder.mkdir(parents=True)
            return _Attempt(job, layout, folder, lock, stopped, places).answer(line, manifest)
        except UsageError as error:
            row = failed(job, error.exit_code, str(error), transient=True)
            return Answer(row, reused=False)
        except OSError as error:  # no room, no right, too long a name: this model's trouble alone
            why = f"{error.strerror or error}; make room or choose another destination"
            return Answer(failed(job, 1, f"its result cannot be written ({why})"), reused=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Attempt:
    """What is fixed while one model is being pruned."""

    def __init__(
        self, job: Job, layout: Layout, folder: Path, lock: int, stopped: Stopped, places: Places
    ) -> None:
        self.job, self.layout, self.folder, self.places = job, layout, folder, places
        self.lock, self.stopped = lock, stopped
        self.made = folder / "made" / posixpath.basename(job.name)
        self.looked: dict[str, Any] = {}
        self.stamps: dict[str, str | None] = {}

    def answer(self, line: Line | None, manifest: Manifest) -> Answer:
        """Fetch, prune, deliver and note."""
        try:
            source = self._fetched()
        except SpaError as error:
            row = failed(self.job, error.exit_code, str(error), transient=True)
            if line is not None:  # what was made of it stays good, out of reach or not
                return Answer(row, reused=False)
            return self._note(row, manifest, self._delivered(row))
        made = self._tried(source, None if line is None else line["digest"])
        if made is None:
            assert line is not None
            known: Row = line["row"]
            known["source"] = self.job.source
            return self._note(known, manifest, line["output"], reused=True)
        return self._note(made, manifest, self._delivered(made))

    def _fetched(self) -> Path:
        """The model as a file of this machine, with its data files."""
        url = self.job.source
        if not is_url(url):
            return Path(url)
        target = self.folder / "source" / posixpath.basename(self.job.name)
        self.stamps["."] = remote.stamp(url)
        remote.fetch(url, target, self.job.timeout)
        self._child(target, None, look=True)
        for location in self.looked.get("files", ()):
            if is_inside(location):
                beside = beside_url(url, location)
                self.stamps[location] = remote.stamp(beside)
                remote.fetch(beside, target.parent / location, self.job.timeout)
        return target

    def _tried(self, source: Path, known: str | None) -> Row | None:
        """The row of the last attempt, or None if the model turns out to be the known one."""
        row: Row | None = None
        for attempt in range(1, self.job.retries + 2):
            shutil.rmtree(self.made.parent, ignore_errors=True)
            self.made.parent.mkdir()
            ended = self._child(source, known)
            if self.looked.get("known") and ended.code == 0:
                return None
            row = self._row(ended, attempt)
            if row["status"] != "crashed":
                break
        return row

    def _child(self, source: Path, known: str | None, look: bool = False) -> child.Ending:
        order, looked, report = (
            self.folder / name for name in ("order.json", "looked.json", "report.json")
        )
        report.unlink(missing_ok=True)
        said = {
            "name": self.job.name,
            "source": str(source),
            "sha256": self.job.sha256,
            "recipe": None if look else dict(self.job.recipe),
            "known": known,
            "timeout": self.job.timeout,
            "output": str(self.made),
            "looked": str(looked),
            "report": str(report),
        }
        order.write_text(json.dumps(said), encoding="utf-8")
        ended = child.run(
            "spa.zoo.job",
            [str(order)],
            log=self.folder / "log",
            timeout=self.job.timeout,
            memory=self.job.memory,
            lock=self.lock,
            stopped=self.stopped,
        )
        if ended.why == "stopped":
            raise Stop
        self.looked |= _read(looked) or {}
        return ended

    def _row(self, ended: child.Ending, attempt: int) -> Row:
        report = _read(self.folder / "report.json")
        if ended.why == "ended" and report is not None and report["exit_code"] == ended.code:
            row = row_of(self.job, report, ended, attempt)
            row["transient"] |= self.looked.get("full", False)
            return row
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        return broken(self.job, ended, attempt, log)

    def _delivered(self, row: Row) -> dict[str, Any]:
        """Move what was made to its place; returns path, stamp and hash of each file."""
        if row["status"] != "pruned":
            shutil.rmtree(self.made.parent, ignore_errors=True)
            self.made.parent.mkdir()
        files = self.places.replace(self.made.parent)
        self._keep("report.json", self.layout.report(self.job.name))
        broke = row["status"] in ("crashed", "limit", "failed")
        self._keep("log" if broke else "", self.layout.log(self.job.name))
        return files

    def _keep(self, name: str, target: Path) -> None:
        made = self.folder / name
        if name and made.is_file() and made.stat().st_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            if name == "report.json":
                self._correct(made)
            move(made, target)
        else:
            with suppress(OSError):
                target.unlink()

    def _correct(self, path: Path) -> None:
        """In the report, say where the files come from and go to, not where they lay meanwhile."""
        report = _read(path) or {}
        place = self.layout.dest / self.job.name
        if report.get("output"):
            report["output"]["path"] = str(place)
        for file in report.get("files") or ():
            file["path"] = str(place.parent / Path(file["path"]).name)
        if report.get("input"):
            report["input"]["path"] = self.job.source
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    def _note(
        self, row: Row, manifest: Manifest, output: Mapping[str, Any], reused: bool = False
    ) -> Answer:
        stamps = self.stamps if is_url(self.job.source) else self.looked.get("stamps", {})
        if None in stamps.values():
            stamps = {}
        manifest.append(
            {
                "name": self.job.name,
                "source": self.job.source,
                "expected": self.job.sha256,
                "digest": self.looked.get("digest"),
                "options": self.job.options,
                "spa": __version__,
                "stamps": stamps,
                "output": dict(output),
                "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "row": row,
            }
        )
        self.places.settled(output)
        return Answer(row, reused)


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file, or None if it is not there or was cut short."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
