"""All files of a run in one place: what is read is never written, and nothing is written twice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from spa.storage import check_apart, clashes, clean, lies_in, temporary_folder

STREAM = "-"
NO_INPUTS = frozenset((".onnx", ".data", ".json", ".html", ".md", ".xml", ".csv", ".svg"))
"""What is never taken for an input where a folder of inputs is read."""


def check_files(
    models: Iterable[object],
    others: Mapping[str, object],
    writes: Iterable[str | os.PathLike[str] | None],
) -> None:
    """Refuse, before any work, results that would take the place of what is read or of each other.

    What killed runs left where the results go is removed.

    Args:
        models: the models that are read, of which only those with a path count.
        others: what else is read, by what it is: paths of files and of folders of inputs, or None.
        writes: the files that will be written, or None.

    Raises:
        UsageError: two are one file.
    """
    places = [Path(each) for each in writes if each is not None and str(each) != STREAM]
    check_apart(places)
    sources = files_of(models)
    reads: dict[str, Iterable[Path]] = {"the input": sources}
    for what, path in others.items():
        for each in files_of([path]):
            if each.is_dir():
                inside = (p for p in places if p.suffix.lower() not in NO_INPUTS)
                reads[what] = [p for p in inside if p.is_file() and lies_in(p, each)]
            else:
                reads[what] = [each]
    clashes(reads, places)
    there = [place for place in places if place.exists()]
    if there:  # else nothing can be lost, and looking into a model takes time
        from spa.graph.datafiles import data_files

        beside = [each for source in sources for each in data_files(source)]
        clashes({"a data file of the input": beside}, there)
    clean(temporary_folder(), *(place.parent for place in places))


def files_of(things: Iterable[object]) -> list[Path]:
    """Those that are paths; a model may also be bytes, a stream or in memory."""
    paths = (each for each in things if isinstance(each, str | os.PathLike))
    return [Path(each) for each in paths if str(each) != STREAM]
