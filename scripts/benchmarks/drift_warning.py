"""What a bound on the drift is worth: drift beside the loss of top-1, over many pruned classifiers.

    drift_warning.py RESULTS.jsonl [--lost 2] [--bounds 0.2 0.3 0.5] [--without X]

RESULTS is what `bench_accuracy.py` keeps.  For every bound it says which share of the runs that
lost more than `--lost` points lies above it (caught), and which share of the others does (false
alarms).  --runs lists the median of both figures per model, method and ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from accuracy import cells, tables


@dataclass(frozen=True)
class Run:
    """One pruned model: what was done to it, how far its outputs drift, what it lost."""

    model: str
    method: str
    ratio: float
    drift: float
    lost: float  # points of top-1

    def spoilt(self, points: float) -> bool:
        """Whether it lost more than so many points."""
        return self.lost > points


def load(paths: Iterable[Path], without: Sequence[str] = ()) -> list[Run]:
    """Every pruned classifier of the files whose drift is known; equal ones (of other seeds) once.

    Methods with one of the words `without` in their name are left out.
    """
    kept = {key: each for path in paths for key, each in cells.entries(path).items()}
    runs = [
        Run(
            Path(cell["files"]["model"]).stem, cell["run"]["words"], cell["ratio"],
            result["drift"], -100 * result["change"],
        )
        for cell, result in kept.values()
        if result.get("drift") is not None and cell["data"].get("kind") == "pictures"
    ]  # fmt: skip
    return [run for run in dict.fromkeys(runs) if not any(word in run.method for word in without)]


def share(part: Sequence[Run], bound: float) -> str:
    """How many of them drift further, in words."""
    above = sum(run.drift > bound for run in part)
    return f"{above} of {len(part)} ({100 * above / len(part):.0f} %)" if part else "–"


def middle(part: Sequence[Run]) -> str:
    """What they lost in the median, and at most."""
    lost = [run.lost for run in part]
    return f"{median(lost):.1f} ({max(lost):.1f})" if lost else "–"


def bounds(runs: Sequence[Run], asked: Iterable[float], points: float) -> str:
    """A line per bound."""
    spoilt = [run for run in runs if run.spoilt(points)]
    fine = [run for run in runs if not run.spoilt(points)]
    lines = []
    for bound in asked:
        sides = [[r for r in runs if (r.drift > bound) is side] for side in (False, True)]
        told = (share(spoilt, bound), share(fine, bound), *map(middle, sides))
        lines.append([f"{bound:g}", *told])
    head = ["bound", f"caught: lost over {points:g} points", "false alarms",
            "points lost below: median (most)", "above"]  # fmt: skip
    return tables.markdown(head, lines)


def listed(runs: Sequence[Run]) -> str:
    """A line per model and method: drift and points lost, ratio by ratio."""
    by: dict[tuple[str, str], dict[float, list[Run]]] = {}
    for run in sorted(runs, key=lambda r: (r.model, r.method, r.ratio)):
        by.setdefault((run.model, run.method), {}).setdefault(run.ratio, []).append(run)
    lines = [
        [model, method, ", ".join(
            f"-{100 * ratio:g} %: {median(r.drift for r in part):.2f}"
            f" / {median(r.lost for r in part):.1f}" for ratio, part in each.items()
        )]
        for (model, method), each in by.items()
    ]  # fmt: skip
    return tables.markdown(["model", "method", "MACs: drift / points of top-1 lost"], lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--lost", type=float, default=2.0, help="points of top-1 that matter")
    parser.add_argument("--bounds", nargs="+", type=float,
                        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0])  # fmt: skip
    parser.add_argument("--without", nargs="*", default=[], metavar="WORD",
                        help="leave out methods with such a word in their name")  # fmt: skip
    parser.add_argument("--runs", action="store_true", help="list the runs, too")
    options = parser.parse_args()
    runs = load(options.results, options.without)
    print(f"{len(runs)} runs of {len({run.model for run in runs})} models\n")
    print(bounds(runs, options.bounds, options.lost))
    if options.runs:
        print(f"\n{listed(runs)}")


if __name__ == "__main__":
    main()
