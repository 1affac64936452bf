"""Kill a zoo at random moments, workers and parents, and show that the end is the same.

    zoo_kill.py FOLDER --kills 20 --jobs 2 -- --scorer l1 --ratio 0.5

One run is left alone.  Another is killed (SIGKILL) again and again, in turn its parent or one of
its workers, each time resumed, and then left to end.  Both must say the same about every model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SAME = ("name", "status", "exit_code", "error", "sha256", "bytes_after", "params_after")


def begin(folder: str, dest: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Start a run."""
    command = [sys.executable, "-m", "spa", "zoo", folder, "-d", str(dest), "-q", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def workers(dest: Path) -> list[int]:
    """The processes that prune for a destination (Linux)."""
    mark = str(dest / ".zoo" / "work").encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes()
            if b"spa.zoo.job" in words and mark in words:
                found.append(int(place.name))
    return found


def outcome(dest: Path) -> tuple[list[dict[str, object]], object, object]:
    """What must be equal."""
    made = json.loads((dest / "summary.json").read_text(encoding="utf-8"))
    rows = [{key: row[key] for key in SAME} for row in made["models"]]
    return rows, made["totals"], made["reasons"]


def largest(dest: Path) -> int:
    """Bytes of the largest process."""
    made = json.loads((dest / "summary.json").read_text(encoding="utf-8"))
    return max(row["peak_rss_bytes"] or 0 for row in made["models"])


def left_over(dest: Path) -> list[str]:
    """Files that are neither a result nor a record."""
    text = (dest / ".zoo" / "manifest.jsonl").read_text(encoding="utf-8")
    known: set[str] = set()
    for line in text.splitlines():
        with suppress(ValueError):  # cut in half by a kill
            known |= json.loads(line)["output"].keys()
    found = (p.relative_to(dest) for p in dest.rglob("*") if p.is_file())
    names = [p.as_posix() for p in found if p.parts[0] != ".zoo" and p.parts[0][:7] != "summary"]
    return [n for n in names if n not in known] + [str(p) for p in (dest / ".zoo/work").glob("*")]


def torment(
    folder: str, dest: Path, options: list[str], kills: int, pause: float, chance: random.Random
) -> tuple[int, int]:
    """Kill runs and workers; return how many of each."""
    killed = [0, 0]
    run = begin(folder, dest, options)
    while sum(killed) < kills:
        time.sleep(chance.uniform(0.05, pause))
        if run.poll() is not None:
            break  # all is done before the last kill
        prey = workers(dest)
        if prey and sum(killed) % 2:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(prey), signal.SIGKILL)
            killed[1] += 1
            continue
        run.kill()
        run.wait()
        killed[0] += 1
        time.sleep(0.2)
        assert not workers(dest), "workers outlived their parent"
        run = begin(folder, dest, options)
    run.wait()
    return killed[0], killed[1]


def main() -> int:
    """Compare a run left alone with one that was not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=float, default=8.0, help="longest pause between kills, s")
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--seed", type=int, default=0)
    words = sys.argv[1:]
    own = words.index("--") if "--" in words else len(words)  # what follows is for spa zoo
    asked = parser.parse_args(words[:own])
    options = [*words[own + 1 :], "--jobs", asked.jobs]
    with tempfile.TemporaryDirectory() as place:
        calm, rough = Path(place) / "calm", Path(place) / "rough"
        began = time.perf_counter()
        begin(asked.folder, calm, options).wait()
        spent = time.perf_counter() - began
        print(f"left alone: {spent:.0f} s, largest process {largest(calm) >> 20} MiB", flush=True)
        began = time.perf_counter()
        chance = random.Random(asked.seed)
        parents, others = torment(asked.folder, rough, options, asked.kills, asked.pause, chance)
        begin(asked.folder, rough, options).wait()  # what was given up as crashed is tried again
        spent = time.perf_counter() - began
        print(f"killed {parents} runs and {others} workers: {spent:.0f} s")
        manifest = (rough / ".zoo/manifest.jsonl").read_text(encoding="utf-8").splitlines()
        done = [line for line in manifest if '"transient":false' in line]
        rows, totals, _ = outcome(rough)
        print(f"totals: {totals}; lines in the manifest: {len(manifest)}, final: {len(done)}")
        same, left = outcome(calm) == outcome(rough), left_over(rough)
        twice = len(done) - len(rows)
        print(f"identical: {same}; left over: {left or 'nothing'}; done twice: {twice}")
    return 0 if same and not left and not twice and parents + others == asked.kills else 1


if __name__ == "__main__":
    sys.exit(main())
