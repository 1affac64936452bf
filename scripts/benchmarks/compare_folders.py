"""Compare constant folders on a folder of models and print the table of docs/folding.md.

    compare_folders.py MODEL_DIR [--json FILE]

Every tool folds every model in a process of its own (a crash or a hang is a result, too).  The
folded model is then compared with the original: what was folded, which names survived, and
whether onnxruntime computes the same bits with its optimizer off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from spa.probes import plain

Fold = Callable[[Path], onnx.ModelProto]
LIMIT = 120


# --- the tools ----------------------------------------------------------------------------------


def slim(path: Path) -> onnx.ModelProto:
    """OnnxSlim as it comes."""
    import onnxslim

    return onnxslim.slim(onnx.load(path))


def slim_fold(path: Path) -> onnx.ModelProto:
    """OnnxSlim without fusion, common subexpressions and weight tying."""
    import onnxslim

    skipped = ["graph_fusion", "subexpression_elimination", "weight_tying"]
    return onnxslim.slim(onnx.load(path), skip_optimizations=skipped)


def sim(path: Path) -> onnx.ModelProto:
    """ONNX Simplifier as it comes."""
    import onnxsim

    return onnxsim.simplify(onnx.load(path))[0]


def sim_fold(path: Path) -> onnx.ModelProto:
    """ONNX Simplifier without its optimizer passes, looking into subgraphs and functions."""
    import onnxsim

    return onnxsim.simplify(
        onnx.load(path), perform_optimization=False, include_subgraph=True, inline_functions=True
    )[0]


def ort_basic(path: Path) -> onnx.ModelProto:
    """ONNX Runtime's own optimizer at its lowest level."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def surgeon(path: Path) -> onnx.ModelProto:
    """ONNX GraphSurgeon: shape inference, fold_constants, cleanup, toposort."""
    import onnx_graphsurgeon

    graph = onnx_graphsurgeon.import_onnx(onnx.shape_inference.infer_shapes(onnx.load(path)))
    return onnx_graphsurgeon.export_onnx(graph.fold_constants().cleanup().toposort())


def spa(path: Path) -> onnx.ModelProto:
    """What `spa.graph.read` does."""
    from spa.graph import read

    return read(path).proto


def spa_by_surgeon(path: Path) -> onnx.ModelProto:
    """The same with ONNX GraphSurgeon evaluating the constants."""
    import onnx_graphsurgeon

    from spa.graph import fold, read

    def evaluate(part: onnx.ModelProto, names: list[str], base_dir: Path | None) -> object:
        graph = onnx_graphsurgeon.import_onnx(part).fold_constants()
        return {tensor.name: tensor.values for tensor in graph.outputs if tensor.name in names}

    fold.evaluate_constants = evaluate  # type: ignore[assignment]
    return read(path).proto


TOOLS: dict[str, Fold] = {
    "onnxslim": slim,
    "onnxslim, folding only": slim_fold,
    "onnxsim": sim,
    "onnxsim, folding only": sim_fold,
    "onnxruntime basic": ort_basic,
    "graphsurgeon": surgeon,
    "spa": spa,
    "spa, graphsurgeon evaluates": spa_by_surgeon,
}


# --- what is measured ---------------------------------------------------------------------------


def graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph and all graphs inside it."""
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node:
                    found += graphs(body)
    return found


def foldable(graph: onnx.GraphProto) -> int:
    """Nodes left that read nothing but constants (quantizers and Constant itself aside)."""
    known = {tensor.name for tensor in graph.initializer}
    count = 0
    for node in graph.node:
        reads = [name for name in node.input if name]
        if node.op_type == "Constant":
            known.update(node.output)
        elif reads and known.issuperset(reads) and "Quantize" not in node.op_type:
            known.update(node.output)
            count += 1
    return count


def weights(model: onnx.ModelProto) -> set[str]:
    """Names of the initializers with two axes or more that a node reads directly."""
    names: set[str] = set()
    for graph in graphs(model.graph):
        read = {name for node in graph.node for name in node.input}
        names |= {t.name for t in graph.initializer if len(t.dims) > 1 and t.name in read}
    return names


def ops(model: onnx.ModelProto, *kinds: str) -> int:
    """How many nodes of some kinds a model has, bodies included."""
    return sum(n.op_type in kinds for g in graphs(model.graph) for n in g.node)


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What onnxruntime computes with its optimizer off."""
    from spa import runtime

    return list(runtime.run(runtime.session(model, optimize=False, threads=1), feeds).values())


def compare(before: onnx.ModelProto, after: onnx.ModelProto, path: Path) -> dict[str, Any]:
    """Figures of one folded model."""
    from spa.graph import read

    names = {node.name or node.output[0] for g in graphs(before.graph) for node in g.node}
    made = {name for g in graphs(before.graph) for node in g.node for name in node.output}
    left = [node for g in graphs(after.graph) for node in g.node if node.op_type != "Constant"]
    kept = weights(before)
    feeds = plain.feeds(read(path))
    old, new = outputs(before, feeds), outputs(after, feeds)
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if isinstance(a, np.ndarray)]
    return {
        "left": len(left),
        "ifs": ops(after, "If"),
        "foldable": sum(foldable(g) for g in graphs(after.graph)),
        "shapes": ops(after, "Shape", "Size"),
        "weights": len(kept),
        "weights_lost": len(kept - weights(after)),
        "renamed": sum((node.name or node.output[0]) not in names for node in left),
        "invented": sum(name not in made for node in left for name in node.output if name),
        "metadata_lost": len(before.metadata_props) > len(after.metadata_props),
        "interface": [o.name for o in before.graph.output] == [o.name for o in after.graph.output]
        and [declared(i) for i in before.graph.output] == [declared(i) for i in after.graph.output],
        "bytes": after.ByteSize() / max(1, before.ByteSize()),
        "same": all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs),
        "difference": max((difference(a, b) for a, b in pairs), default=0.0),
    }


def declared(info: onnx.ValueInfoProto) -> list[str]:
    """The axes of an output as the file declares them."""
    dims = info.type.tensor_type.shape.dim
    return [dim.dim_param or str(dim.dim_value) for dim in dims]


def difference(old: np.ndarray, new: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    if old.dtype.kind != "f" or old.size == 0:
        return 0.0
    if old.shape != new.shape:
        return float("inf")
    scale = float(np.abs(old).max()) or 1.0
    return float(np.abs(old.astype(float) - new.astype(float)).max()) / scale


def one(tool: str, path: Path, result: Path) -> None:
    """Fold one model with one tool and write the figures to `result`."""
    model = onnx.load(path)
    model.metadata_props.add(key="kept", value="yes")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        marked = Path(folder) / "model.onnx"
        onnx.save(model, marked)
        warm = Path(folder) / "warm.onnx"  # the first call pays for imports
        onnx.save(tiny(), warm)
        TOOLS[tool](warm)
        begin = time.perf_counter()
        after = TOOLS[tool](marked)
        seconds = time.perf_counter() - begin
        figures = compare(model, after, marked)
    result.write_text(json.dumps({"seconds": seconds, **figures}))


def tiny() -> onnx.ModelProto:
    """A model with one node."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    return onnx.parser.parse_model(text)


def measure(tool: str, what: str, flag: str = "--one") -> dict[str, Any]:
    """The figures of one tool on one model, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, __file__, flag, tool, what, str(result)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return {"error": f"longer than {LIMIT} s"}
        if result.exists():
            return json.loads(result.read_text())
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        crash = f"crashed with signal {-done.returncode}" if done.returncode < 0 else lines[-1]
        return {"error": crash[:200]}


# --- probes: models that a folder may spoil ------------------------------------------------------


def probe(folder: Path, text: str, constants: dict[str, Any]) -> Path:
    """A small model from its text and some constants."""
    head = '<ir_version: 8, opset_import: ["": 17]>'
    proto = onnx.parser.parse_model(head + text)
    for name, value in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    onnx.save(proto, folder / "probe.onnx")
    return folder / "probe.onnx"


def quantized(folder: Path) -> Path:
    """An int8 weight behind DequantizeLinear."""
    constants = {"q": np.ones((500, 500), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    text = "g (float[N,500] x) => (float[N,500] y) { w = DequantizeLinear(q,s,z) y = MatMul(x,w) }"
    return probe(folder, text, constants)


def masked(folder: Path) -> Path:
    """A mask of 64 MiB made of two numbers."""
    constants = {"one": np.float32(1), "s": np.array([4096, 4096])}
    text = "g (float[4096,4096] x) => (float[4096,4096] y) { m = Expand(one,s) y = Mul(x,m) }"
    return probe(folder, text, constants)


def shared(folder: Path) -> Path:
    """One weight used twice, once by way of Identity."""
    text = (
        "g (float[N,99] x) => (float[N,99] y) { v = Identity(w) a = MatMul(x,v) y = MatMul(a,w) }"
    )
    return probe(folder, text, {"w": np.ones((99, 99), np.float32)})


def huge(folder: Path) -> Path:
    """Weights of 2.4 GB in a file that takes no room on the disk."""
    path = probe(folder, "g (float[N,20000] x) => (float[N,30000] y) { y = MatMul(x,w) }", {})
    proto = onnx.load(path)
    weight = proto.graph.initializer.add(name="w", data_type=1, dims=[20000, 30000])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(2_400_000_000)
    path.write_bytes(proto.SerializeToString())
    return path


PROBES: dict[str, tuple[Callable[[Path], Path], Callable[[onnx.ModelProto], bool]]] = {
    "quantized weights stay": (quantized, lambda m: ops(m, "DequantizeLinear") == 1),
    "a 64 MiB mask is not stored": (masked, lambda m: m.ByteSize() < 1 << 20),
    "shared weights stay shared": (shared, lambda m: len(m.graph.initializer) == 1),
    "2.4 GB of weights": (huge, lambda m: len(m.graph.initializer) == 1),
}


def try_probe(tool: str, name: str, result: Path) -> None:
    """Let one tool fold one probe."""
    build, check = PROBES[name]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        passed = check(TOOLS[tool](build(Path(folder))))
    result.write_text(json.dumps({"passed": passed}))


# --- the table ----------------------------------------------------------------------------------


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Totals per tool, over the models that all tools could be asked about."""
    head = (
        "| tool | failed | nodes left | foldable left | Shape left | If left | "
        "weights renamed or lost | nodes renamed | tensors invented | outputs redeclared | "
        "metadata lost | not bit-equal (largest difference) | median ms | max ms |"
    )
    rows = [head, "|" + "---|" * 14]
    everywhere = {
        model
        for model in next(iter(results.values()))
        if all("error" not in by_model[model] for by_model in results.values())
    }
    for tool, by_model in results.items():
        good = [figures for model, figures in by_model.items() if model in everywhere]
        failed = sum("error" in figures for figures in by_model.values())
        times = sorted(1000 * figures["seconds"] for figures in good)
        unequal = [figures["difference"] for figures in good if not figures["same"]]
        cells = [
            tool,
            failed,
            *(total(good, key) for key in ("left", "foldable", "shapes", "ifs")),
            f"{total(good, 'weights_lost')} of {total(good, 'weights')}",
            *(total(good, key) for key in ("renamed", "invented")),
            sum(not figures["interface"] for figures in good),
            total(good, "metadata_lost"),
            f"{len(unequal)}" + (f" ({max(unequal):.0e})" if unequal else ""),
            f"{median(times):.0f}",
            f"{times[-1]:.0f}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    rows += ["", f"Sums over the {len(everywhere)} models on which every tool succeeded.", ""]
    rows += ["| tool | model | failure |", "|---|---|---|"]
    for tool, by_model in results.items():
        for model, figures in by_model.items():
            if "error" in figures:
                rows.append(f"| {tool} | {model} | {figures['error'].replace('|', '/')} |")
    return "\n".join(rows)


def total(figures: list[dict[str, Any]], key: str) -> int:
    """The sum of one figure."""
    return sum(entry[key] for entry in figures)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, help="folder of .onnx files")
    parser.add_argument("--one", nargs=3, metavar=("TOOL", "MODEL", "RESULT"))
    parser.add_argument("--probe", nargs=3, metavar=("TOOL", "PROBE", "RESULT"))
    parser.add_argument("--json", type=Path, help="keep every single figure here")
    options = parser.parse_args()
    if options.one:
        one(options.one[0], Path(options.one[1]), Path(options.one[2]))
        return
    if options.probe:
        try_probe(options.probe[0], options.probe[1], Path(options.probe[2]))
        return
    paths = sorted(path for folder in options.models for path in folder.glob("*.onnx"))
    results = {tool: {path.stem: measure(tool, str(path)) for path in paths} for tool in TOOLS}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(table(results))
    print("\n| tool | " + " | ".join(PROBES) + " |\n" + "|---" * (len(PROBES) + 1) + "|")
    for tool in TOOLS:
        found = [measure(tool, name, "--probe") for name in PROBES]
        words = ["yes" if f.get("passed") else "no" if "passed" in f else "fails" for f in found]
        print(f"| {tool} | " + " | ".join(words) + " |")


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(Path(__file__).resolve().parents[2]))
    main()
