"""How much faster models get: by MACs at any width, by MACs at friendly widths, by time.

    bench_latency.py FILES... [--ratio 0.5] [--threads 1] [--seconds 10]
        [--json FILE]

Every model is cut three ways, to the same share: `--of macs --round-to 1`, `--of macs --round-to
auto` and `--of latency`; judged by `-s l2`, without refitting, as weights have no say in time.
Then the original and the three take turns.  Printed are the MACs that are gone, and the speed-up
by the fastest tenth of every model's runs, which a busy machine disturbs least (the median of the
paired ratios is kept in FILE).  Where the time asked for cannot be had, what spa says is
possible is asked for instead, less 1 %.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from statistics import geometric_mean
from typing import Any

TRIES = 4
WAYS: dict[str, dict[str, Any]] = {
    "macs, 1": {"of": "macs", "round_to": 1},
    "macs, auto": {"of": "macs", "round_to": "auto"},
    "latency": {"of": "latency", "round_to": "auto"},
}


def cut(path: Path, ratio: float, threads: int) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The graph, and by way the pruned model with what is known of it."""
    from spa.coupling.cost import Cost, reduction
    from spa.errors import TargetError
    from spa.events import quiet
    from spa.graph import read
    from spa.pipeline.choose import choose
    from spa.pipeline.context import Context
    from spa.pipeline.load import Loaded, couple
    from spa.pipeline.score import score
    from spa.pipeline.settle import settle
    from spa.pipeline.values import Settled
    from spa.recipe import Recipe
    from spa.rewrite import rewrite

    graph = read(path)
    plain, context = Recipe(scorer="l2", device="cpu", threads=threads), Context("bench", quiet)
    groups, found = couple(Loaded(graph), plain, context), {}
    ranked = score(groups, Settled(plain), context)
    for way, options in WAYS.items():
        began = time.perf_counter()
        share = ratio
        for _ in range(TRIES):
            recipe = Recipe(
                ratio=share, scorer="l2", device="cpu", threads=threads, verify="none", **options
            ).validate()
            try:
                choice = choose(ranked, settle(groups, recipe, context), context)
            except TargetError as error:
                found[way] = {"error": str(error)}
                most = re.search(r"at most ([\d.]+) %", str(error))
                share = min(share, float(most[1]) / 100) - 0.01 if most else 0.0
                if share <= 0:
                    break
                continue
            chosen, alive = choice.coupling, choice.kept
            cost = Cost(chosen)
            found[way] = {
                "model": rewrite(chosen, alive),
                "asked": share,
                "macs": reduction(cost(chosen.everything()), cost(alive))["macs"],
                "seconds": time.perf_counter() - began,
                "budget": choice.latency,
            }
            break
    return graph, found


def compare(path: Path, ratio: float, threads: int, seconds: float) -> dict[str, dict[str, Any]]:
    """What is known of every way, with its measured speed-up."""
    from spa import runtime
    from spa.latency.stopwatch import clock_for
    from spa.validate import measure
    from spa.validate.inputs import feeds_at

    graph, found = cut(path, ratio, threads)
    models = [graph.proto, *(each["model"] for each in found.values() if "model" in each)]
    sessions = [
        runtime.session(m, threads=threads, device="cpu", base_dir=graph.source.base_dir)
        for m in models
    ]
    feeds = feeds_at(graph, 0)
    timing = measure(
        sessions,
        [feeds] * len(sessions),
        runs=20000,
        warmup=3,
        seconds=seconds,
        clock=clock_for("cpu", threads),
    )
    calm, medians = timing.calm, iter(timing.speedups[1:])
    speedups = iter(calm[0] / each for each in calm[1:])
    for each in found.values():
        if each.pop("model", None) is not None:
            each |= {"speedup": next(speedups), "median": next(medians), "before_ms": calm[0]}
    return found


def table(found: dict[str, dict[str, dict[str, Any]]], ratio: float) -> str:
    """One line per model, in Markdown; means over the models that all ways can cut."""
    share = f"{100 * ratio:g} %"
    lines = [
        f"| model | ms | {share} of MACs, `--round-to 1` | {share} of MACs, `auto` | "
        f"`--of latency` | MACs gone | table |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, ways in found.items():
        known = [each for each in ways.values() if "before_ms" in each]
        before = f"{known[0]['before_ms']:.3g}" if known else "-"
        cells = [_speedup(ways[way], ratio) for way in WAYS]
        time_cut = ways["latency"]
        gone = f"{100 * time_cut['macs']:.0f} %" if "macs" in time_cut else "-"
        spent = f"{time_cut['seconds']:.0f} s" if "seconds" in time_cut else "-"
        lines.append("| " + " | ".join([name, before, *cells, gone, spent]) + " |")
    whole = [w for w in found.values() if all("speedup" in w[way] for way in WAYS)]
    if whole:
        means = [f"{geometric_mean([w[way]['speedup'] for w in whole]):.2f}" for way in WAYS]
        row = ["geometric mean", "", *means, "", ""]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _speedup(each: dict[str, Any], ratio: float) -> str:
    if "speedup" not in each:
        return "out of reach"
    short = "" if each["asked"] == ratio else f" (at {100 * each['asked']:.0f} %)"
    return f"{each['speedup']:.2f}{short}"


def main() -> None:
    """Measure and print; a file that fails is told on stderr and left out."""
    from spa.errors import SpaError

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILES")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10, help="of comparing, for each file")
    parser.add_argument("--json", type=Path, help="keep every figure here")
    options = parser.parse_args()
    found = {}
    for path in options.files:
        try:
            found[path.stem] = compare(path, options.ratio, options.threads, options.seconds)
        except SpaError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        print(json.dumps({path.stem: found[path.stem]}), file=sys.stderr, flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    print(table(found, options.ratio))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
