"""Results take their places: only where nothing is, or what the zoo's own records say it wrote.

What is about to be written is noted first.  So a run that was killed half-way knows its own files
again, and a file of somebody else that lies in the destination is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spa.errors import UsageError
from spa.storage import alone, move, replaced
from spa.zoo.manifest import Line, is_intact
from spa.zoo.model import Layout
from spa.zoo.paths import is_inside, sha256, stamp

Files = dict[str, dict[str, str]]


class Places:
    """What one model has in the destination: path below it, stamp and hash of each file."""

    def __init__(self, layout: Layout, name: str, line: Line | None) -> None:
        """Look up what the manifest's last line and an intent say.

        Raises:
            UsageError: something that is not the zoo's lies where the result goes.
        """
        self._layout, self._name = layout, name
        self._known: list[Files] = _noted(layout.intent(name)) + _noted(layout.written(name))
        if line is not None:
            self._known.append(line["output"])
        paths = (path for files in self._known for path in files)
        self.paths = sorted({path for path in paths if is_inside(path)})
        self.check(name)

    def check(self, path: str) -> None:
        """Refuse a place where a file of somebody else lies."""
        if path not in self.paths:
            _check_free(self._layout.dest / path)

    def replace(self, made: Path) -> Files:
        """Move all files of a folder to where the model's results lie, the model last.

        Returns:
            What is there now; the files of earlier results are gone.
        """
        parent = self._layout.dest.joinpath(*self._name.split("/")).parent
        last = self._name.rpartition("/")[2]
        own = sorted(made.iterdir(), key=lambda path: (path.name == last, path.name))
        new = {(parent / path.name).relative_to(self._layout.dest).as_posix(): path for path in own}
        files = {path: {"stamp": stamp(p), "sha256": sha256(p)} for path, p in new.items()}
        self._intend(files)
        if new:
            parent.mkdir(parents=True, exist_ok=True)
        for path in new:
            self.check(path)
        for path in {*self.paths} & {*new}:
            self._set_aside(path)
        with alone(parent):
            for path, source in new.items():
                move(source, self._layout.dest / path)
        self._drop(set(new))
        return files

    def settled(self, files: Mapping[str, Any]) -> None:
        """The manifest says it all now; these files are what there is."""
        _note(self._layout.written(self._name), [files])
        self._layout.intent(self._name).unlink(missing_ok=True)

    def _intend(self, files: Mapping[str, Any]) -> None:
        _note(self._layout.intent(self._name), [*self._known, files])
        self._known.append(dict(files))

    def _drop(self, kept: set[str]) -> None:
        """Remove earlier results, the model before its data."""
        old = [path for path in self.paths if path not in kept]
        for path in sorted(old, key=lambda path: path != self._name):
            self._set_aside(path)
            (self._layout.dest / path).unlink(missing_ok=True)

    def _set_aside(self, path: str) -> None:
        """Keep a result that somebody has changed since."""
        place = self._layout.dest / path
        known = [files[path] for files in self._known if path in files]
        if not place.exists() or any(is_intact(place, each) for each in known):
            return
        kept = self._layout.changed(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        move(place, kept)


def _note(place: Path, known: list[Any]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    replaced(place, json.dumps(known).encode(), "the record", "make room there")


def _noted(place: Path) -> list[Files]:
    """What a note says; nothing if it is no such."""
    with suppress(OSError, ValueError):
        noted = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(noted, list):
            return [each for each in noted if isinstance(each, dict)]
    return []


def check_summaries(layout: Layout, files: list[str]) -> None:
    """Refuse to replace a file that is called like a summary and is not the zoo's.

    Raises:
        UsageError: there is one.
    """
    if layout.manifest.exists() and not layout.summary("x").parent.exists():
        return  # versions before this one kept no record of them
    for name in files:
        if not layout.summary(name).exists():
            _check_free(layout.dest / name)


def _check_free(place: Path) -> None:
    if place.exists() or place.is_symlink():
        raise UsageError(
            f"{place} exists, and no record says that this zoo wrote it; move it, or choose "
            "another destination"
        )


def claim_summaries(layout: Layout, files: list[str]) -> None:
    """Note that these files are the zoo's from now on."""
    for name in files:
        place = layout.summary(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
