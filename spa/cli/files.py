"""Models on the command line: paths, standard input and standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spa.cli.shell import Answer
from spa.errors import ReadError, UsageError
from spa.storage import check_place, scratch

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


def check(
    options: Mapping[str, Any], *models: str, output: str | None = None, plan: str | None = None
) -> None:
    """Refuse, before any work is done, results that would replace what is read, or each other.

    Raises:
        UsageError: two of the files that the options name are one.
    """
    from spa.graph.distinct import check_files

    others = {
        "the plan": plan,
        "an input of --calib": options.get("calib"),
        "the file of --labels": options.get("labels"),
        "the file of --saliency": options.get("saliency"),
    }
    drawn = (options.get("csv"), options.get("plot"))
    check_files(models, others, (output, *options.get("report", ()), *drawn))


def check_output(output: str, *, force: bool) -> None:
    """Refuse, before any work is done, an output that could not or must not be written."""
    if output != STREAM:
        check_place(output, "the output", force=force)
    elif sys.stdout.isatty():
        raise UsageError("standard output is a terminal; redirect it or give -o FILE")


def _sent(outcome: Any) -> dict[str, Any]:
    """Write a pruned model to standard output and return what a report says about it."""
    from spa.graph import save

    with scratch() as folder:
        path = folder / "model.onnx"
        # Through a file: large tensors may still lie beside the original.
        saved = save(outcome.model, path, base_dir=outcome.base_dir, external=False)
        if saved.bytes >= LARGEST_MODEL:
            raise UsageError("a model above 2 GiB needs a data file beside it; give -o FILE")
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return {"path": STREAM, "bytes": saved.bytes, "sha256": saved.sha256}


def answer(outcome: Any, *, to_stdout: bool) -> Answer:
    """Send a verified model, also the best of a run that was ended, to standard output if asked."""
    report = outcome.report
    if to_stdout and (outcome.exit_code == 0 or report.get("status") == "interrupted"):
        report = {**report, "output": {**(report["output"] or {}), **_sent(outcome)}}
    return Answer(report, outcome.exit_code)
