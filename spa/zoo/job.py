"""The process of one model: `python -m spa.zoo.job ORDER.json`.

It hashes the model with its data files, stops if that is known, and else prunes it as `spa prune`
would.  It dies with its parent, so that a killed run leaves no orphans.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from spa import watch
from spa.errors import ReadError, UsageError
from spa.zoo.paths import is_inside, sha256, stamp


def main(order_path: str) -> int:
    """Carry out the order that lies there, as long as the process that gave it lives."""
    _die_with_parent()
    return carry_out(json.loads(Path(order_path).read_text(encoding="utf-8")))


def carry_out(order: dict[str, Any]) -> int:
    """Do what an order says; the exit code of `spa prune`.

    A report lies where the order says, whatever happens; beside it what was seen of the source.
    """
    source = Path(order["source"])
    try:
        looked = look(source)
    except OSError as error:
        why = f"{source} cannot be read ({error.strerror or error}); check its permissions"
        return _failed(order, ReadError(why))
    looked["known"] = order["known"] == looked["digest"]
    Path(order["looked"]).write_text(json.dumps(looked), encoding="utf-8")
    if looked["known"] or order["recipe"] is None:
        return 0
    return _prune(order, looked)


def look(source: Path) -> dict[str, Any]:
    """Hash a model and its data files.

    Returns:
        `sha256` of the file, `digest` of all, `files`: locations of data files beside it (relative,
        also those that are missing), and `stamps` of all that are there.
    """
    whole = {"sha256": sha256(source) if source.is_file() else None}
    digest = hashlib.sha256(str(whole["sha256"]).encode())
    stamps = {".": stamp(source)} if source.is_file() else {}
    locations = _locations(source)
    for location in locations:
        path = source.parent / location
        if is_inside(location) and path.is_file():
            stamps[location] = stamp(path)
            digest.update(f"{location} {sha256(path)}".encode())
    return {**whole, "digest": digest.hexdigest(), "files": locations, "stamps": stamps}


def _locations(source: Path) -> list[str]:
    """Where a model keeps its data; a file that is no model has none."""
    import onnx

    from spa.graph.tensors import is_external, location_of, tensors_of

    try:
        proto = onnx.load(source, load_external_data=False)
        tensors = [tensor for tensor, _ in tensors_of(proto) if is_external(tensor)]
        return sorted({location_of(tensor)[0] for tensor in tensors})
    except Exception:  # whatever is wrong with it, pruning finds out and says so
        return []


def _prune(order: dict[str, Any], looked: dict[str, Any]) -> int:
    """Prune, and leave a report whatever happens."""
    from spa import reports

    give_up = watch.leaving(partial(_failed, order))
    # The process that waits for this one looks at the limits of the whole.
    limits = watch.Limits(run=watch.RUN_SECONDS if order["timeout"] is None else None)
    try:
        with watch.watching(limits, lambda error: None, give_up):
            report = _pruned(order, looked)
        reports.write(report, order["report"])
    except (Exception, KeyboardInterrupt) as error:
        return _failed(order, error)
    return 0


def _failed(order: dict[str, Any], error: BaseException) -> int:
    """Leave a report of what went wrong; its exit code."""
    from spa import reports
    from spa.reports.failure import buried, classify, is_full

    failure = classify(error)
    if is_full(error):
        Path(order["looked"]).write_text(json.dumps({"full": True}), encoding="utf-8")
    reports.write(buried(error, failure, "prune", order["source"]), order["report"])
    return failure.exit_code


def _pruned(order: dict[str, Any], looked: dict[str, Any]) -> Any:
    expected = order["sha256"]
    if expected is not None and looked["sha256"] != str(expected).lower():
        raise ReadError(
            f"{order['name']} has the sha256 {looked['sha256']} where its list says {expected}; "
            "fetch it again, or correct the list"
        )
    from spa import pipeline
    from spa.config import recipe_from

    made = pipeline.prune(
        order["source"],
        recipe_from(order["recipe"]),
        output=order["output"],
        force=True,
        resume="if-kept",
    )
    if made.exit_code:  # a tuning that was ended early: the next run goes on with it
        error = KeyboardInterrupt("interrupted; run the same command again to go on")
        error.report = made.report  # type: ignore[attr-defined]
        raise error
    return made.report


def _die_with_parent() -> None:
    """End when the parent does: standard input is a pipe that then closes."""
    if sys.platform == "linux":
        import ctypes
        import signal

        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise UsageError("spa.zoo.job takes one order; it is started by spa zoo")
    sys.exit(main(sys.argv[1]))
