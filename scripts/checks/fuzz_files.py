"""Prune files that are broken in every way: `fuzz_files.py SEED COUNT [-j JOBS] [--keep FOLDER]`.

Prints what was wrong, with seed and steps, and how many ended with which exit code.  Exits with 1
if any command failed in a way that it may not, or wrote a wrong file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.judge import Finding, trial, warm
from tests.fuzz.mutation import mutated


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="write the files of faults there")
    options = parser.parse_args()
    begin, found = time.perf_counter(), list[Finding]()
    warm()
    seeds = range(options.seed, options.seed + options.count)
    with get_context("fork").Pool(options.jobs, maxtasksperchild=100) as pool:
        for each in pool.imap(trial, seeds):
            found.append(each)
            if len(found) % 50 == 0:
                spent = time.perf_counter() - begin
                print(f"{len(found)} files, {spent:.0f} s", file=sys.stderr, flush=True)
            if each.fault or each.note.startswith("5"):
                print(each, flush=True)
                keep(options.keep, each.seed)
    seconds = time.perf_counter() - begin
    print(f"{len(found)} files in {seconds:.0f} s; exit codes:")
    for title, counts in (
        ("exit", Counter(each.code for each in found)),
        ("note", Counter(each.note for each in found if each.note)),
    ):
        for name, count in sorted(counts.items()):
            print(f"{count:6} {title} {name}")
    most, slowest = max(f.peak for f in found), max(f.seconds for f in found)
    faults = sum(bool(f.fault) for f in found)
    print(f"at most {slowest:.0f} s of the processor, {most >> 20} MiB; {faults} faults")
    return int(faults > 0)


def keep(folder: Path | None, seed: int) -> None:
    """Write the file of a seed again."""
    if folder is not None:
        (folder / str(seed)).mkdir(parents=True, exist_ok=True)
        mutated(seed, folder / str(seed))


if __name__ == "__main__":
    sys.exit(main())
