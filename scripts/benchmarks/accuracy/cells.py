"""Cells of a table: told apart by what decides them, run one per process, kept in a file.

A cell is a dict that JSON can hold.  `files` and `run` say where things lie and how to run; what is
left decides the result and, with the hashes of the files, is the cell's key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import Any

Cell = dict[str, Any]
Result = dict[str, Any]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@lru_cache
def digest(path: str) -> str:
    """A short hash of a file, or of a folder's names and sizes."""
    place = Path(path)
    sha = hashlib.sha256()
    if place.is_dir():
        for each in sorted(place.rglob("*")):
            sha.update(f"{each.relative_to(place)} {each.stat().st_size}\n".encode())
    else:
        with place.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()[:16]


def key_of(cell: Cell) -> str:
    """What tells a cell from others; the paths do not."""
    named = {k: v for k, v in cell.items() if k not in ("files", "run")}
    named["files"] = {role: digest(path) for role, path in cell["files"].items()}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:24]


def load(path: Path) -> dict[str, Result]:
    """Results by key."""
    return {key: result for key, (_, result) in entries(path).items()}


def entries(path: Path) -> dict[str, tuple[Cell, Result]]:
    """Cells and results by key; of several the last, and a line cut short counts nothing."""
    found: dict[str, tuple[Cell, Result]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                found[entry["key"]] = entry["cell"], entry["result"]
    return found


def keep(path: Path, cell: Cell, result: Result) -> None:
    """Add one line to the file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"key": key_of(cell), "cell": cell, "result": result})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def measure(script: Path, cell: Cell, limit: float, threads: int) -> Result:
    """Run a cell in a process of its own; a crash or a timeout is a result with `error`."""
    command = [sys.executable, str(script), "--cell"]
    env = {**os.environ, **(dict.fromkeys(THREADS, str(threads)) if threads else {})}
    began = time.perf_counter()
    # A session of its own, so that what the cell has started ends with it.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=env, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            said, noise = child.communicate(json.dumps(cell), timeout=limit)
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {limit:g} s"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode:
        lines = noise.strip().splitlines() or [f"ended with {child.returncode}"]
        return {"error": lines[-1][:300]}
    return {**json.loads(said.splitlines()[-1]), "wall": time.perf_counter() - began}


def run(
    script: Path, cells: Iterable[Cell], results: Path, *, jobs: int, limit: float, threads: int
) -> Iterator[tuple[Cell, Result]]:
    """Measure cells, `jobs` at once, keep every result as soon as it is there."""
    with ThreadPoolExecutor(jobs) as pool:
        asked = {pool.submit(measure, script, cell, limit, threads): cell for cell in cells}
        try:
            for done in as_completed(asked):
                cell, result = asked[done], done.result()
                keep(results, cell, result)
                yield cell, result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
