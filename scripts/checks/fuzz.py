"""Prune random networks and hold every one against the oracles: `fuzz.py SEED COUNT [--kind KIND]`.

Prints how many were fine, refused (nothing to prune, or a choice that fits nowhere) and wrong, with
seed, place and steps of the rest, and how many tensors could not be compared, as they lie behind a
near tie.  Exits with 1 if any net is wrong, or more than a hundredth was not compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.reference import SKIPPED, Agreement
from tests.fuzz.trial import KINDS, OK, WRONG, Verdict


def verdicts(kind: str, first: int, count: int, jobs: int) -> Iterable[Verdict]:
    """One verdict per seed, in order."""
    trial = KINDS[kind]
    seeds = range(first, first + count)
    if jobs == 1:
        yield from map(trial, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(trial, seeds, chunksize=16)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all", help="of nets")
    options = parser.parse_args()
    kinds = list(KINDS) if options.kind == "all" else [options.kind]
    return max([look(kind, options.seed, options.count, options.jobs) for kind in kinds])


def look(kind: str, first: int, count: int, jobs: int) -> int:
    """One family of nets; 1 if any is wrong."""
    begin, states, again, total = time.perf_counter(), Counter[str](), 0, Agreement()
    for verdict in verdicts(kind, first, count, jobs):
        states[verdict.state] += 1
        again += verdict.again
        total.add(Agreement(verdict.worst, verdict.compared, verdict.skipped))
        if verdict.state != OK:
            print(verdict, flush=True)
    seconds = time.perf_counter() - begin
    print(
        f"{kind}, {count} nets: "
        + ", ".join(f"{n} {state}" for state, n in sorted(states.items())),
        f"({again} choices made again, largest difference {total.worst:.1e}, "
        f"{total.skipped} tensors of {total.compared + total.skipped} behind near ties, "
        f"{seconds:.0f} s)",
    )
    return int(states[WRONG] > 0 or total.share > SKIPPED)


if __name__ == "__main__":
    sys.exit(main())
