"""Time spa, onnxsim and Torch-Pruning on the same three networks, side by side in one run.

    python scripts/bench_peers.py [--rounds 5] [--nets resnet50 ...] [--folder DIR] [--json FILE]

Needs torch, torchvision, timm, torch-pruning, onnxsim and onnxruntime in the environment that runs
it.  The networks are torchvision's, the transformer timm's (Torch-Pruning goes deeper there), with
random weights; all 1-D parameters and BatchNorm statistics are perturbed, so that no two tensors
are equal.  Every tool halves every group of channels it finds,
by the L2 norm of the weights: spa with `--of channels --scope local --round-to 1`, onnxsim with
`apply_structured_pruning(sparsity=0.5)`, Torch-Pruning with `BasePruner`, `GroupMagnitude(p=2)`,
the classifier left alone and the numbers of heads given.  Every measurement has a process of its
own; the tools take turns within every round.  "load" is what lies between the file and something
that can be pruned (`spa.graph.read`; `onnx.load` and `onnxsim.simplify`; `torch.load`), "prune"
is the analysis, the scores and the cut.  Imports and a first small network are not timed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NETS = ("resnet50", "densenet121", "vit_base_patch16_224")
TOOLS = ("spa", "onnxsim", "torch-pruning")
RATIO = 0.5
IMAGE = (1, 3, 224, 224)

# --- networks -----------------------------------------------------------------------------------


def zoo() -> Any:
    """The models of timm and torchvision: `zoo()(name)` makes one.

    Operators that torchvision's wheel lacks beside a CPU torch are declared.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        global declared  # must live as long as the operators
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    import timm

    def create(name: str) -> Any:
        if name.startswith("vit"):
            return timm.create_model(name)
        return torchvision.models.get_model(name, weights=None)

    return create


def export(name: str, folder: Path) -> None:
    """Write a network as a pickle and as ONNX."""
    import torch

    torch.manual_seed(0)
    model = zoo()(name).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor) + (0.1 if "var" in key else 0.0))
    torch.save(model, folder / f"{name}.pt")
    image = torch.randn(IMAGE)
    torch.onnx.export(model, image, str(folder / f"{name}.onnx"), opset_version=17, dynamo=False)


# --- the tools: (load, prune, parameters of what was loaded or pruned, validate) -------------------


class Spa:
    """This project."""

    def load(self, stem: Path) -> Any:
        from spa.graph import read

        return read(stem.with_suffix(".onnx"))

    def prune(self, graph: Any) -> Any:
        from spa.budgets import allocate
        from spa.coupling import analyse
        from spa.criteria import score
        from spa.recipe import Recipe
        from spa.rewrite import rewrite

        coupling = analyse(graph)
        recipe = Recipe(ratio=RATIO, of="channels", scope="local", round_to=1)
        return rewrite(coupling, allocate(coupling, score(coupling, "l2"), recipe))

    def params(self, model: Any) -> int:
        return stored(getattr(model, "proto", model))

    def runs(self, model: Any) -> bool:
        return onnxruntime_runs(model.SerializeToString())


class Onnxsim:
    """ONNX Simplifier's pruning."""

    def load(self, stem: Path) -> Any:
        import onnx
        import onnxsim

        return onnxsim.simplify(onnx.load(stem.with_suffix(".onnx")))[0]

    def prune(self, model: Any) -> Any:
        from onnxsim import pruning

        return pruning.apply_structured_pruning(model, sparsity=RATIO)

    def params(self, model: Any) -> int:
        return stored(model)

    def runs(self, model: Any) -> bool:
        return onnxruntime_runs(model.SerializeToString())


class TorchPruning:
    """Torch-Pruning's base pruner."""

    def load(self, stem: Path) -> Any:
        import torch

        zoo()
        return torch.load(stem.with_suffix(".pt"), weights_only=False)

    def prune(self, model: Any) -> Any:
        import torch
        import torch_pruning

        last = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
        attention = [m for m in model.modules() if hasattr(m, "qkv")]
        heads = {m.qkv: m.num_heads for m in attention}
        torch_pruning.pruner.BasePruner(
            model,
            torch.randn(IMAGE),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=RATIO,
            ignored_layers=[last],
            num_heads=heads,
        ).step()
        for m in attention:  # numbers that the network keeps beside its weights
            m.attn_dim = m.qkv.out_features // 3
            m.head_dim = m.attn_dim // m.num_heads
        return model

    def params(self, model: Any) -> int:
        return sum(p.numel() for p in model.parameters())

    def runs(self, model: Any) -> bool:
        import io

        import torch

        file = io.BytesIO()
        image = torch.randn(IMAGE)
        torch.onnx.export(model.eval(), image, file, opset_version=17, dynamo=False)
        return onnxruntime_runs(file.getvalue())


SIDES: dict[str, Callable[[], Any]] = {
    "spa": Spa,
    "onnxsim": Onnxsim,
    "torch-pruning": TorchPruning,
}


def stored(model: Any) -> int:
    """The numbers in a model's floating-point initializers."""
    floats = (1, 10, 11, 16)
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)


def onnxruntime_runs(data: bytes) -> bool:
    """Whether onnxruntime loads and runs a model of one image."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal(IMAGE, np.float32)
    (result,) = session.run(None, {session.get_inputs()[0].name: image})
    return bool(np.isfinite(result).all())


# --- one measurement, in a process of its own ----------------------------------------------------


def one(tool: str, stem: Path, check: bool) -> dict[str, Any]:
    """Load and prune once; seconds, megabytes and parameters."""
    warnings.simplefilter("ignore")
    side = SIDES[tool]()
    side.prune(side.load(stem.with_name("small")))  # imports, and whatever a first call sets up
    before = peak()
    start = time.perf_counter()
    loaded = side.load(stem)
    middle = time.perf_counter()
    params = side.params(loaded)
    again = time.perf_counter()
    pruned = side.prune(loaded)
    end = time.perf_counter()
    figures = {
        "load": middle - start,
        "prune": end - again,
        "peak": peak(),
        "own": peak() - before,
        "removed": 1 - side.params(pruned) / params,
    }
    if check:
        try:
            figures["valid"] = side.runs(pruned)
        except Exception as error:
            figures["valid"] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return figures


def peak() -> float:
    """The most memory this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(tool: str, stem: Path, check: bool, limit: float) -> dict[str, Any]:
    """`one` in a process of its own."""
    command = [sys.executable, __file__, "--one", tool, os.fspath(stem)]
    command += ["--check"] if check else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:g} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:120]}
    return json.loads(done.stdout.splitlines()[-1])


# --- the table ----------------------------------------------------------------------------------


def table(results: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Medians over the rounds; ratios are medians of the ratios within a round."""
    head = (
        "| network | tool | load s | prune s | prune, relative to spa | load + prune, relative "
        "to spa | peak MiB | of that load + prune | parameters removed | runs in onnxruntime |"
    )
    lines = [head, "|" + "---|" * 10]
    for net, by_tool in results.items():
        for tool, rounds in by_tool.items():
            good = [figures for figures in rounds if "error" not in figures]
            if not good:
                lines.append(
                    f"| {net} | {tool} | {rounds[0]['error'].replace('|', '/')} |" + " |" * 7
                )
                continue
            pairs = [
                (mine, theirs)
                for mine, theirs in zip(by_tool["spa"], rounds, strict=True)
                if "error" not in mine and "error" not in theirs
            ]
            times = [theirs["prune"] / mine["prune"] for mine, theirs in pairs]
            whole = [
                (theirs["load"] + theirs["prune"]) / (mine["load"] + mine["prune"])
                for mine, theirs in pairs
            ]
            cells = [
                net,
                tool,
                f"{median(f['load'] for f in good):.3f}",
                f"{median(f['prune'] for f in good):.3f}",
                f"{median(times):.2f} ({min(times):.2f} .. {max(times):.2f})",
                f"{median(whole):.2f} ({min(whole):.2f} .. {max(whole):.2f})",
                f"{median(f['peak'] for f in good):.0f}",
                f"{median(f['own'] for f in good):.0f}",
                f"{100 * good[0]['removed']:.1f} %",
                str(good[0].get("valid")).replace("True", "yes").replace("|", "/"),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def prepare(nets: list[str], folder: Path) -> None:
    """Export what is not there yet, in processes of their own: torch keeps its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*nets, "small"):
        if not (folder / f"{name}.onnx").exists():
            command = [sys.executable, __file__, "--export", name, os.fspath(folder)]
            subprocess.run(command, check=True, capture_output=True)


def export_small(folder: Path) -> None:
    """Write a network of a few layers, to warm up on."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 16, 16),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 1),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 14 * 14, 4),
    ).eval()
    torch.save(model, folder / "small.pt")
    path = str(folder / "small.onnx")
    torch.onnx.export(model, torch.randn(IMAGE), path, opset_version=17, dynamo=False)


def main() -> None:
    """Export, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--folder", type=Path, default=Path("peers"), help="for the networks")
    parser.add_argument("--limit", type=float, default=200, help="seconds for one measurement")
    parser.add_argument("--json", type=Path, help="keep every single figure here")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "STEM"), help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=2, metavar=("NET", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        name, folder = options.export
        export_small(Path(folder)) if name == "small" else export(name, Path(folder))
        return
    if options.one:
        print(json.dumps(one(options.one[0], Path(options.one[1]), options.check)))
        return
    prepare(options.nets, options.folder)
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for net in options.nets:
        results[net] = {tool: [] for tool in options.tools}
        for k in range(options.rounds):
            for tool in options.tools:
                found = measure(tool, options.folder / net, k == 0, options.limit)
                results[net][tool].append(found)
                print(net, tool, k, found, file=sys.stderr)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))
    main()
