"""Inside a cell's process: make one pruned model, with spa or with a rival at the same size."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Sizes = dict[str, float]

NEAR = 0.005
"""How near to the wanted share a rival's ratio is searched, and in how many attempts."""
ATTEMPTS = 12


class RivalError(Exception):
    """A rival cannot be run on this model; the message says why."""


def sizes(path: Path) -> Sizes:
    """What spa counts in a file: `macs` per sample, `params`, and `encoder`.

    `encoder` are the parameters without the tables that ids look up.
    """
    from spa.coupling import analyse
    from spa.coupling.cost import Cost
    from spa.graph import read

    graph = read(path)
    coupling = analyse(graph)
    cost = Cost(coupling)(coupling.everything())
    held = sum(float(graph.consts[name].size) for name in tables(graph))
    return {"macs": cost.macs, "params": cost.params, "encoder": cost.params - held}


def tables(graph: Any) -> list[str]:
    """Stored matrices of floats that a Gather reads by ids that are not stored."""
    return sorted(
        {
            node.inputs[0]
            for node in graph.nodes
            if node.op == "Gather"
            and node.inputs[0] in graph.consts
            and node.inputs[1] not in graph.consts
            and graph.consts[node.inputs[0]].ndim == 2
            and graph.consts[node.inputs[0]].dtype.kind == "f"
        }
    )


def gone(before: Sizes, after: Sizes) -> Sizes:
    """Shares that were removed."""
    return {of: 1 - after[of] / before[of] for of in before if before[of]}


def by_spa(
    model: Path, output: Path, options: Mapping[str, Any], ratio: float, of: str
) -> dict[str, Any]:
    """Prune with spa; of `encoder` the tables stay whole and the rest loses its share.

    The seconds are those without verification, which `options` may ask for.
    """
    import spa

    extra: dict[str, Any] = {"of": of}
    if of == "encoder":
        whole = sizes(model)
        names = [_literal(name) for name in tables(spa.read(model))]
        extra = {"of": "params", "ignore": names}
        ratio *= whole["encoder"] / whole["params"]
    began, cpu = time.perf_counter(), time.process_time()
    done = spa.prune(model, ratio, **{"verify": "none", "tune": "off", **extra, **options})
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    done.save(output, force=True)
    report = done.report
    return {
        "seconds": seconds - report["timings"].get("verify", 0.0),
        "cpu_seconds": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "timings": report["timings"],
        "warnings": report["warnings"],
        "notes": report.get("notes", []),
        "code": code(Path(spa.__file__).parent),
        **judged(report),
    }


def judged(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says of a file: how far its outputs drift, how much faster it runs."""
    verify, latency = report["verify"], report["latency"]
    moved = [d for d in verify["drift"].values() if d is not None] if verify else []
    return {
        "drift": max(moved, default=None),
        "speedup": latency["speedup"] if latency else None,
    }


def _literal(name: str) -> str:
    """A glob that matches only this name."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def code(folder: Path) -> str:
    """A short hash of the package's sources: results of other sources can be told."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


@contextlib.contextmanager
def rival(
    python: str, tool: str, model: Path, options: Mapping[str, Any]
) -> Iterator[subprocess.Popen[str]]:
    """A rival's process, which prunes `model` as often as it is asked to.

    Raises:
        RivalError: it cannot take this model.
    """
    command = [python, "-m", "accuracy.rivals", tool, str(model.resolve())]
    command += [json.dumps(dict(options))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    ) as worker:  # fmt: skip
        try:
            _answer(worker)
            yield worker
        finally:
            worker.kill()


def _answer(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RivalError(f"ended with {worker.wait()} and no answer")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise RivalError(said["error"])
    return said


def ask(
    worker: subprocess.Popen[str], ratio: float, output: Path, *, last: bool = False
) -> dict[str, Any]:
    """Have the rival write `output`, its own ratio being `ratio`; `last`: with all finishing."""
    assert worker.stdin is not None
    worker.stdin.write(json.dumps({"ratio": ratio, "output": str(output), "last": last}) + "\n")
    worker.stdin.flush()
    return _answer(worker)


def by_rival(
    python: str, tool: str, model: Path, output: Path, options: Mapping[str, Any],
    ratio: float, of: str,
) -> dict[str, Any]:  # fmt: skip
    """Prune with a rival, whose ratio is searched for until the share of `of` that goes is right.

    Raises:
        RivalError: it cannot take this model, or finds nothing to prune in it.
    """
    whole = sizes(model)
    low, high, best = 0.0, 1.0, (np.inf, 0.0, 0.0)
    failed = ""
    with rival(python, tool, model, options) as worker:
        for _ in range(ATTEMPTS):
            middle = (low + high) / 2
            try:
                ask(worker, middle, output)
                found = gone(whole, sizes(output))[of]
            except Exception as error:  # too much was asked for: less may do
                failed, high = f"{type(error).__name__}: {error}", middle
                if worker.poll() is not None:
                    break
                continue
            best = min(best, (abs(found - ratio), middle, found))
            if abs(found - ratio) <= NEAR:
                break
            low, high = (middle, high) if found < ratio else (low, middle)
        if not np.isfinite(best[0]):
            raise RivalError(failed or "no attempt gave a model")
        if best[2] < ratio / 100:
            raise RivalError("finds nothing to prune")
        said = ask(worker, best[1], output, last=True)
    return {"seconds": said["seconds"], "own_ratio": best[1], "words": said.get("words", "")}


def failure(error: BaseException) -> str:
    """An error as one line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{first}"[:300] if isinstance(error, RivalError) else f"{type(error).__name__}: {first}"


def say(result: Mapping[str, Any]) -> None:
    """Hand the result of a cell to the process that asked."""
    sys.stdout.write(json.dumps(result) + "\n")
