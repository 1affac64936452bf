"""`spa prune --speedup` on files: what was asked for, what was got, and what it took.

    asked_and_got.py FILES... [--speed 1.25 1.5 2] [--threads 1] [--limit 360]
        [--json FILE] [-- OPTIONS]

Each file is pruned to each speed in a process of its own, with an empty table of timings, and then
timed once more beside the original in another (`spa bench`).  Printed are a row each in Markdown,
and the geometric means of asked against got.  OPTIONS after `--` go to `spa prune` as well.  A run
that is in FILE already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import geometric_mean
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    "model", "asked", "reported", "timed again", "time gone: asked, table, measured",
    "branches", "quality", "drift", "seconds (processor)", "MiB",
)  # fmt: skip


def spa(*words: str, limit: float, **env: str) -> tuple[dict[str, Any], float]:
    """The JSON of a command (empty where it did not end in time), and seconds of processors."""
    command = [sys.executable, "-m", "spa", *words, "--json"]
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {**os.environ, "PYTHONPATH": os.fspath(ROOT), **env}
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit, env=told, check=False)
        found = json.loads(done.stdout or b"{}")
    except subprocess.TimeoutExpired:
        found = {}
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found, sum(
        getattr(ended, each) - getattr(began, each) for each in ("ru_utime", "ru_stime")
    )


def run(file: Path, speed: float, options: argparse.Namespace) -> dict[str, Any]:
    """Prune a file, and time the result beside it."""
    threads, found = str(options.threads), {"model": file.stem, "asked": speed}
    with tempfile.TemporaryDirectory() as folder:
        small, began = Path(folder) / file.name, time.perf_counter()
        words = "prune", str(file), "--speedup", str(speed), "--threads", threads, "-o", str(small)
        report, processor = spa(*words, *options.options, limit=options.limit, SPA_CACHE=folder)
        found |= {"seconds": time.perf_counter() - began, "processor": processor}
        if not report:
            return found | {"error": f"took more than {options.limit:g} s"}
        found |= {"timings": report["timings"], "peak": report["peak_rss_bytes"]}
        if report["error"]:
            return found | {"error": report["error"]}
        again, _ = spa("bench", str(file), str(small), "--threads", threads, limit=options.limit)
    depth, drifts = report.get("depth") or {}, (report["verify"] or {}).get("drift") or {}
    return found | {
        "budget": report["latency_budget"],
        "tried": depth.get("tried", []),
        "branches": len(report.get("bypassed") or ()),
        "quality": report["verdicts"]["quality"],
        "drift": max((each for each in drifts.values() if each is not None), default=None),
        "latency": report["latency"],
        "again": again["models"][1],
    }


def row(each: dict[str, Any]) -> str:
    """What is known of a run, in Markdown."""
    cells = [each["model"], f"{each['asked']:g}"]
    spent = f"{each['seconds']:.0f} ({each['processor']:.0f})"
    if "error" in each:
        cells += [each["error"], *[""] * 5, spent]
    else:
        shares = (each["budget"][what] for what in ("asked", "predicted", "measured"))
        drift = "-" if each["drift"] is None else f"{each['drift']:.2g}"
        cells += [_faster(each["latency"]), _faster(each["again"])]
        cells += [", ".join(f"{100 * share:.0f} %" for share in shares)]
        cells += [str(each["branches"]), each["quality"]["verdict"], drift, spent]
    cells.append(f"{each['peak'] / 2**20:.0f}" if "peak" in each else "")
    return f"| {' | '.join(cells)} |"


def _faster(timing: dict[str, float]) -> str:
    return f"{timing['speedup']:.2f} ({timing['low']:.2f}-{timing['high']:.2f})"


def means(found: list[dict[str, Any]]) -> str:
    """What was got of what was asked, over the runs that met it: the means and the extremes."""
    met = [each for each in found if "error" not in each]
    if not met:
        return "no run met what was asked"
    lines = [f"{len(met)} of {len(found)} runs met what was asked"]
    for name, key in (("reported", "latency"), ("timed again", "again")):
        shares = [each[key]["speedup"] / each["asked"] for each in met]
        lines.append(f"speed {name} by speed asked: {_told(shares)}")
    cut = [
        each["budget"] for each in met if each["budget"]["predicted"] > 0 < each["budget"]["turns"]
    ]
    if cut:  # else branches alone were enough, and the table had no say
        shares = [budget["predicted"] / budget["measured"] for budget in cut]
        lines.append(f"time gone by the table by time gone as measured: {_told(shares)}")
    return "\n".join(lines)


def _told(shares: list[float]) -> str:
    return f"{geometric_mean(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILES")
    add("--speed", nargs="+", type=float, default=[1.25, 1.5, 2.0])
    add("--threads", type=int, default=1)
    add("--limit", type=float, default=360, help="seconds for one run")
    add("--json", type=Path, help="keep every figure here, and go on from there")
    at = [*sys.argv, "--"].index("--")
    options = parser.parse_args(sys.argv[1:at])
    options.options = sys.argv[at + 1 :]
    kept = options.json
    found = json.loads(kept.read_text()) if kept and kept.exists() else []
    done = {(each["model"], each["asked"]) for each in found}
    print(f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *map(row, found), sep="\n")
    for file in options.files:
        for speed in options.speed:
            if (file.stem, speed) not in done:
                found.append(run(file, speed, options))
                if kept:
                    kept.write_text(json.dumps(found, indent=1))
                print(row(found[-1]), flush=True)
    print("", means(found), sep="\n")


if __name__ == "__main__":
    main()
