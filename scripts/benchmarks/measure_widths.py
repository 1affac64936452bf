"""Measure which channel widths onnxruntime runs fast on this CPU.

    measure_widths.py [--threads 1 2] [--rounds 31] [--ops conv3x3 ...] [--json FILE]
    measure_widths.py --models FILES... [--ratio 0.5] [--seconds 10]

Every operator is measured at all widths of some bands, as a chain of layers of one width, so that
changes of layout at the borders do not count.  The widths take turns within every round: what else
the machine does then falls on all of them, and the median of the rounds is compared.  A table says
for every remainder how long a width takes relative to the next multiple of 4, 8, 16 and 32 above
it; more than 1 means that the narrower layer is slower than the wider one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from spa.probes import plain

BANDS = (range(8, 41), range(56, 73), range(120, 137), range(248, 265))
MULTIPLES = (4, 8, 16, 32)
DEPTH = 4
ROUNDINGS: tuple[int | str, ...] = (1, 4, 8, 16, "auto")

Layer = Callable[[str, str, int, np.random.Generator], tuple[onnx.NodeProto, onnx.TensorProto]]


def convolution(kernel: int, depthwise: bool = False) -> Layer:
    """A layer of `width` to `width` channels."""

    def layer(
        source: str, target: str, width: int, rng: np.random.Generator
    ) -> tuple[onnx.NodeProto, onnx.TensorProto]:
        inputs = 1 if depthwise else width
        shape = (width, inputs, kernel, kernel)
        weight = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
        pads = [kernel // 2] * 4
        node = helper.make_node(
            "Conv", [source, f"w_{target}"], [target], pads=pads, group=width if depthwise else 1
        )
        return node, numpy_helper.from_array(weight.astype(np.float32), f"w_{target}")

    return layer


def product(op: str) -> Layer:
    """A Gemm or MatMul of `width` to `width` features."""

    def layer(
        source: str, target: str, width: int, rng: np.random.Generator
    ) -> tuple[onnx.NodeProto, onnx.TensorProto]:
        weight = rng.standard_normal((width, width), np.float32) / np.sqrt(width)
        node = helper.make_node(op, [source, f"w_{target}"], [target])
        return node, numpy_helper.from_array(weight.astype(np.float32), f"w_{target}")

    return layer


def picture(width: int) -> tuple[int, ...]:
    """The input of a convolution: small pictures where there are many channels."""
    side = 28 if width < 100 else 14
    return (1, width, side, side)


OPS: dict[str, tuple[Layer, Callable[[int], tuple[int, ...]]]] = {
    "conv3x3": (convolution(3), picture),
    "conv1x1": (convolution(1), picture),
    "depthwise3x3": (convolution(3, depthwise=True), picture),
    "gemm, 1 row": (product("Gemm"), lambda width: (1, width)),
    "matmul, 196 rows": (product("MatMul"), lambda width: (1, 196, width)),
}


def session(op: str, width: int, threads: int) -> tuple[onnxruntime.InferenceSession, dict]:
    """A chain of layers with Relu between them, ready to run, and its input."""
    layer, shape_of = OPS[op]
    rng = np.random.default_rng(width)
    nodes, stored, last = [], [], "x"
    for k in range(DEPTH):
        node, weight = layer(last, f"c{k}", width, rng)
        nodes += [node, helper.make_node("Relu", [f"c{k}"], [f"r{k}"])]
        stored.append(weight)
        last = f"r{k}"
    shape = shape_of(width)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", last)]
    graph = helper.make_graph(nodes, op.split(",")[0], values[:1], values[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    loaded = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return loaded, {"x": rng.standard_normal(shape, np.float32)}


def measure(op: str, band: Iterable[int], threads: int, rounds: int) -> dict[int, float]:
    """Median milliseconds per width; the widths take turns."""
    ready = {width: session(op, width, threads) for width in band}
    taken: dict[int, list[float]] = defaultdict(list)
    times = {}
    for width, (loaded, feeds) in ready.items():  # warm up, and find out how often to repeat
        loaded.run(None, feeds)
        start = time.perf_counter()
        loaded.run(None, feeds)
        times[width] = max(1, int(5e-4 / (time.perf_counter() - start)))
    for _ in range(rounds):
        for width, (loaded, feeds) in ready.items():
            start = time.perf_counter()
            for _ in range(times[width]):
                loaded.run(None, feeds)
            taken[width].append((time.perf_counter() - start) / times[width])
    return {width: 1000 * median(seconds) for width, seconds in taken.items()}


# --- tables -------------------------------------------------------------------------------------


def relative(times: dict[int, float], multiple: int) -> list[float]:
    """Time of every width that is no multiple, relative to the next multiple above it."""
    found = []
    for width, taken in times.items():
        above = -(-width // multiple) * multiple
        if width % multiple and above in times:
            found.append(taken / times[above])
    return found


def summary(results: dict[str, dict[int, float]]) -> str:
    """Per series: what a width that is no multiple costs relative to the multiple above it."""
    lines = [
        "| operator | threads | widths | " + " | ".join(f"of {m}" for m in MULTIPLES) + " |",
        "|---|---|---|" + "---|" * len(MULTIPLES),
    ]
    for series, times in results.items():
        op, threads, widths = series.split("; ")
        cells = []
        for multiple in MULTIPLES:
            found = relative(times, multiple)
            cells.append(
                f"{geometric_mean(found):.2f} ({min(found):.2f} .. {max(found):.2f})"
                if found
                else "-"
            )
        lines.append(f"| {op} | {threads} | {widths} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def medians(results: dict[str, dict[int, float]]) -> str:
    """Every median, in microseconds."""
    lines = []
    for series, times in results.items():
        pairs = ", ".join(f"{width}: {1000 * taken:.0f}" for width, taken in times.items())
        lines.append(f"- {series} (microseconds): {pairs}")
    return "\n".join(lines)


# --- whole models -------------------------------------------------------------------------------


def speedups(path: Path, ratio: float, threads: int, seconds: float) -> dict[int | str, float]:
    """How many times faster a model gets, by --round-to; what misses the target is missing."""
    from spa import runtime
    from spa.budgets import allocate
    from spa.coupling import analyse
    from spa.criteria import Context, score
    from spa.errors import TargetError
    from spa.graph import read
    from spa.recipe import Recipe
    from spa.rewrite import rewrite

    graph = read(path)
    coupling = analyse(graph)
    scores, feeds = score(Context(coupling), "l2"), plain.feeds(graph)
    sessions: dict[int | str, Any] = {0: runtime.session(graph.proto, threads=threads)}
    for round_to in ROUNDINGS:
        recipe = Recipe(ratio=ratio, of="macs", round_to=round_to)
        try:
            pruned = rewrite(coupling, allocate(coupling, scores, recipe))
        except TargetError:
            continue
        sessions[round_to] = runtime.session(pruned, threads=threads)
    taken: dict[int | str, list[float]] = defaultdict(list)
    for loaded in sessions.values():
        runtime.run(loaded, feeds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken[0]) < 9:
        for round_to, loaded in sessions.items():
            start = time.perf_counter()
            runtime.run(loaded, feeds)
            taken[round_to].append(time.perf_counter() - start)
    times = {round_to: median(found) for round_to, found in taken.items()}
    return {round_to: times[0] / taken for round_to, taken in times.items() if round_to != 0}


def speed_table(found: dict[str, dict[int | str, float]]) -> str:
    """One line per model; the means are over the models that reach the target at every rounding."""
    head = ["model", *(f"--round-to {r}" for r in ROUNDINGS)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    everywhere = [times for times in found.values() if len(times) == len(ROUNDINGS)]
    means = {r: geometric_mean([times[r] for times in everywhere]) for r in ROUNDINGS if everywhere}
    name = f"geometric mean of {len(everywhere)}"
    for model, times in (*found.items(), (name, means)):
        cells = [f"{times[r]:.2f}" if r in times else "out of reach" for r in ROUNDINGS]
        lines.append("| " + " | ".join([model, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--ops", nargs="+", choices=list(OPS), default=list(OPS))
    parser.add_argument("--json", type=Path, help="keep every median here")
    parser.add_argument("--models", type=Path, nargs="+", help="prune and time these instead")
    parser.add_argument("--ratio", type=float, default=0.5, help="of the MACs of --models")
    parser.add_argument("--seconds", type=float, default=10, help="for each of --models")
    options = parser.parse_args()
    if options.models:
        settings = options.ratio, options.threads[0], options.seconds
        print(speed_table({path.stem: speedups(path, *settings) for path in options.models}))
        return
    results = {}
    for op in options.ops:
        for threads in options.threads:
            for band in BANDS:
                series = f"{op}; {threads}; {band.start}-{band.stop - 1}"
                results[series] = measure(op, band, threads, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(summary(results), medians(results), sep="\n\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
