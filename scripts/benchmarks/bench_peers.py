"""Time spa, onnxsim and Torch-Pruning on the same three networks, side by side in one run.

    bench_peers.py [--rounds 5] [--nets resnet50 ...] [--folder DIR] [--json FILE]

Needs torch, torchvision, timm, torch-pruning, onnxsim and onnxruntime in the environment that runs
it.  The networks are torchvision's, the transformer timm's (Torch-Pruning goes deeper there), with
random weights; all 1-D parameters and BatchNorm statistics are perturbed, so that no two tensors
are equal.  Every tool halves every group of channels it finds,
by the L2 norm of the weights: spa with `--of channels --scope local --round-to 1`, onnxsim with
`apply_structured_pruning(sparsity=0.5)`, Torch-Pruning with `BasePruner`, `GroupMagnitude(p=2)`,
the classifier left alone and the numbers of heads given.  Every measurement has a process of its
own; the tools take turns within every round.  "load" is what lies between the file and something
that can be pruned (`spa.graph.read`; `onnx.load` and `onnxsim.simplify`; `torch.load`), "prune"
is the analysis, the scores and the cut.  Imports are not timed, and before comes a small network,
which is not timed either (unless --cold is given: then the first call of a process is what counts).
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

ROOT = Path(__file__).resolve().parents[2]
NETS = ("resnet50", "densenet121", "vit_base_patch16_224")
TOOLS = ("spa", "onnxsim", "torch-pruning")
RATIO = 0.5
IMAGE = (1, 3, 224, 224)

# --- networks -----------------------------------------------------------------------------------


def zoo() -> Any:
    """The models of timm and torchvision: `zoo()(name)` makes one."""
    from zoo.torch_net import torchvision as found

    torchvision = found()
    import timm

    def create(name: str) -> Any:
        if name == "small":  # to warm up on
            block = torchvision.models.resnet.BasicBlock
            return torchvision.models.ResNet(block, [1, 1, 1, 1])
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


# --- the tools: load what lies at a path without suffix, prune it, give it as ONNX ----------------


class Spa:
    """This project."""

    def ready(self) -> None:
        """Import what is needed."""
        from spa import budgets, coupling, criteria, graph, rewrite  # noqa: F401

    def load(self, stem: Path) -> Any:
        """What can be pruned."""
        from spa.graph import read

        return read(stem.with_suffix(".onnx"))

    def prune(self, graph: Any) -> Any:
        """Analysis, scores and cut."""
        from spa.budgets import allocate
        from spa.coupling import analyse, misplaced
        from spa.criteria import Context, score
        from spa.recipe import Recipe
        from spa.rewrite import rewrite

        coupling = analyse(graph)
        recipe = Recipe(ratio=RATIO, of="channels", scope="local", round_to=1, scorer="l2")
        alive = allocate(coupling, score(Context(coupling), "l2"), recipe)
        if errors := misplaced(coupling, alive):
            raise errors[0]
        return rewrite(coupling, alive, checked=True)

    def exported(self, model: Any) -> Any:
        """The pruned model as ONNX."""
        return model


class Onnxsim:
    """ONNX Simplifier's pruning."""

    def ready(self) -> None:
        """Import what is needed."""
        from onnxsim import pruning  # noqa: F401

    def load(self, stem: Path) -> Any:
        """What can be pruned."""
        import onnx
        import onnxsim

        return onnxsim.simplify(onnx.load(stem.with_suffix(".onnx")))[0]

    def prune(self, model: Any) -> Any:
        """Analysis, scores and cut."""
        from onnxsim import pruning

        return pruning.apply_structured_pruning(model, sparsity=RATIO)

    def exported(self, model: Any) -> Any:
        """The pruned model as ONNX."""
        return model


class TorchPruning:
    """Torch-Pruning's base pruner."""

    def ready(self) -> None:
        """Import what is needed."""
        import torch_pruning  # noqa: F401

        zoo()

    def load(self, stem: Path) -> Any:
        """What can be pruned."""
        import torch

        zoo()
        return torch.load(stem.with_suffix(".pt"), weights_only=False)

    def prune(self, model: Any) -> Any:
        """Analysis, scores and cut."""
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

    def exported(self, model: Any) -> Any:
        """The pruned model as ONNX."""
        import io

        import onnx
        import torch

        file = io.BytesIO()
        image = torch.randn(IMAGE)
        torch.onnx.export(model.eval(), image, file, opset_version=17, dynamo=False)
        return onnx.load_from_string(file.getvalue())


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


def one(tool: str, stem: Path, check: bool, cold: bool) -> dict[str, Any]:
    """Load and prune once; seconds, megabytes and, with `check`, what came out."""
    import onnx

    warnings.simplefilter("ignore")
    side = SIDES[tool]()
    side.ready()
    if not cold:
        side.prune(side.load(stem.with_name("small")))
    before = peak()
    start = time.perf_counter()
    loaded = side.load(stem)
    middle, spent = time.perf_counter(), time.process_time()
    pruned = side.prune(loaded)
    end = time.perf_counter()
    figures: dict[str, Any] = {"load": middle - start, "prune": end - middle}
    figures["cpu"] = time.process_time() - spent
    figures |= {"peak": peak(), "own": peak() - before}
    if check:
        try:
            model = side.exported(pruned)
            figures["removed"] = 1 - stored(model) / stored(onnx.load(stem.with_suffix(".onnx")))
            figures["valid"] = onnxruntime_runs(model.SerializeToString())
        except Exception as error:
            figures["valid"] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return figures


def peak() -> float:
    """The most memory this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(tool: str, stem: Path, flags: list[str], threads: int, limit: float) -> dict[str, Any]:
    """`one` in a process of its own."""
    command = [sys.executable, __file__, "--one", tool, os.fspath(stem), *flags]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(threads))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, env=env
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:g} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:120]}
    return json.loads(done.stdout.splitlines()[-1])


# --- the table ----------------------------------------------------------------------------------


HEAD = (
    "network", "tool", "load s", "prune s", "prune, CPU s", "prune, relative to spa",
    "load + prune, relative to spa", "peak MiB", "of that load + prune", "parameters removed",
    "runs in onnxruntime",
)  # fmt: skip
Rounds = list[dict[str, Any]]


def table(results: dict[str, dict[str, Rounds]]) -> str:
    """Medians over the rounds; ratios are medians of the ratios within a round."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for net, by_tool in results.items():
        for tool, rounds in by_tool.items():
            cells = [net, tool, *figures_of(rounds, by_tool.get("spa", []))]
            cells += [""] * (len(HEAD) - len(cells))
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def figures_of(rounds: Rounds, ours: Rounds) -> list[str]:
    """One tool's cells, from the third column on."""
    good = [figures for figures in rounds if "error" not in figures]
    if not good:
        return [str(rounds[0]["error"])]

    def middle(key: str, digits: int) -> str:
        return f"{median(figures[key] for figures in good):.{digits}f}"

    def relative(*keys: str) -> str:
        ratios = [
            sum(theirs[key] for key in keys) / sum(mine[key] for key in keys)
            for mine, theirs in zip(ours, rounds, strict=False)
            if "error" not in mine and "error" not in theirs
        ]
        return f"{median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})" if ratios else "-"

    valid = str(good[0].get("valid", "-")).replace("True", "yes")
    removed = f"{100 * good[0].get('removed', math.nan):.1f} %"
    seconds = [middle(key, 3) for key in ("load", "prune", "cpu")]
    memory = [middle(key, 0) for key in ("peak", "own")]
    return [*seconds, relative("prune"), relative("load", "prune"), *memory, removed, valid]


def prepare(nets: list[str], folder: Path) -> None:
    """Export what is not there yet, in processes of their own: torch keeps its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*nets, "small"):
        if not (folder / f"{name}.onnx").exists():
            command = [sys.executable, __file__, "--export", name, os.fspath(folder)]
            subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Export, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--folder", type=Path, default=Path("peers"), help="for the networks")
    parser.add_argument("--limit", type=float, default=200, help="seconds for one measurement")
    parser.add_argument("--threads", type=int, default=1, help="of every tool")
    parser.add_argument("--cold", action="store_true", help="no small network before")
    parser.add_argument("--json", type=Path, help="keep every single figure here")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "STEM"), help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=2, metavar=("NET", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(options.export[0], Path(options.export[1]))
        return
    if options.one:
        print(json.dumps(one(options.one[0], Path(options.one[1]), options.check, options.cold)))
        return
    prepare(options.nets, options.folder)
    results: dict[str, dict[str, Rounds]] = {}
    for net in options.nets:
        results[net] = {tool: [] for tool in options.tools}
        for k in range(options.rounds):
            for tool in options.tools:
                flags = ["--check"] * (k == 0) + ["--cold"] * options.cold
                found = measure(tool, options.folder / net, flags, options.threads, options.limit)
                results[net][tool].append(found)
                print(net, tool, k, found, file=sys.stderr)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))
    main()
