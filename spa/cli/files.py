"""Models on the command line: paths, standard input and standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from spa.errors import ReadError, UsageError

STREAM = "-"
LARGEST_MODEL = 1 << 31  # protobuf reads no more from one file


def model_from(source: str) -> str | bytes:
    """Return the path, or the bytes that stand on standard input."""
    if source != STREAM:
        return source
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe a model into it or name a file")
    data = sys.stdin.buffer.read()
    if not data:
        raise ReadError("standard input is empty; pipe a model into it or name a file")
    return data


def output_name(source: str, output: str | None, suffix: str) -> str:
    """Return where the result goes: as told, else beside the input, else to standard output."""
    if output is not None:
        return output
    if source == STREAM:
        return STREAM
    path = Path(source)
    return str(path.with_name(path.stem + suffix))


def check_output(output: str, *inputs: str, force: bool) -> None:
    """Refuse, before any work is done, an output that could not or must not be written."""
    if output == STREAM:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal; redirect it or give -o FILE")
        return
    path = Path(output)
    if path.is_dir():
        raise UsageError(f"the output {path} is a folder; give a file with -o")
    if any(Path(each).exists() and path.exists() and path.samefile(each) for each in inputs):
        raise UsageError(f"the output {path} is the input, which is never changed; give another")
    if path.exists() and not force:
        raise UsageError(f"the output {path} exists; replace it with --force or give another")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder of the output {path} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} of the output may not be written to; give another")


def check_distinct(*paths: str | Path | None) -> None:
    """Refuse a file named twice: what is written last would replace what somebody needs."""
    seen: set[Path] = set()
    for path in paths:
        if path is None or str(path) == STREAM:
            continue
        place = Path(path).resolve()
        if place in seen:
            raise UsageError(f"{path} is named for two things; give each its own file")
        seen.add(place)


def send(outcome: Any) -> dict[str, Any]:
    """Write a pruned model to standard output and return what a report says about it."""
    from spa.graph import save

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # Through a file: large tensors may still lie beside the original.
        saved = save(outcome.model, path, base_dir=outcome.base_dir, external=False)
        if saved.bytes >= LARGEST_MODEL:
            raise UsageError("a model above 2 GiB needs a data file beside it; give -o FILE")
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return {"path": STREAM, "bytes": saved.bytes, "sha256": saved.sha256}
