"""The other pruners on one network: `python -m zoo.peers TOOL SOURCE NAME SIZE FILE.onnx OUT.onnx`.

Both halve every group of channels they find, by the L2 norm of its weights.  onnxsim simplifies
first, then prunes layers, then attention heads; where the heads break the file, the layers alone
count.  Torch-Pruning starts from the PyTorch module: `BasePruner`, `GroupMagnitudeImportance(p=2)`,
layers that make an output left alone, the number of heads given wherever a module has a fused
`qkv`, and the sizes such a module keeps beside its weights mended afterwards.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from zoo import check

RATIO = 0.5


def onnxsim(path: Path, output: Path) -> dict[str, Any]:
    """ONNX Simplifier's pruning of layers, and of heads where the result still runs."""
    import onnx
    import onnxsim as tool
    from onnxsim import pruning

    began = time.perf_counter()
    model, _ = tool.simplify(onnx.load(path))
    middle = time.perf_counter()
    small = pruning.apply_structured_pruning(model, sparsity=RATIO)
    end = time.perf_counter()
    onnx.save(small, output)
    found = check.look(output, path)
    found |= {"load": middle - began, "seconds": end - began, "heads": False}
    found["before"] = check.held(model.graph)  # simplifying may write a tensor twice
    if not found["valid"]:
        return found
    try:
        began = time.perf_counter()
        onnx.save(pruning.apply_attention_head_pruning(small, sparsity=RATIO), output)
        seconds = found["seconds"] + time.perf_counter() - began
        deeper = check.look(output, path)
    except Exception:
        return found
    if deeper["valid"] and deeper["stored"] < found["stored"]:
        return {**found, **deeper, "seconds": seconds, "heads": True}
    return found


def torch_pruning(source: str, name: str, size: int, output: Path) -> dict[str, Any]:
    """Torch-Pruning; valid means that the pruned module still computes something of its shape.

    `stored` is counted in the file that the exporter writes of the pruned module, where it can.
    """
    import torch
    import torch_pruning as tool

    makers = importlib.import_module(f"zoo.source_{source}")
    model, inputs = makers.module(name, size)
    with torch.no_grad():
        want = shapes(model(*inputs))
    before = sum(each.numel() for each in model.parameters())
    began = time.perf_counter()
    attention = [m for m in model.modules() if hasattr(getattr(m, "qkv", None), "weight")]
    pruner = tool.pruner.BasePruner(
        model,
        inputs,
        importance=tool.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=RATIO,
        ignored_layers=last(model, want),
        num_heads={m.qkv: m.num_heads for m in attention if hasattr(m, "num_heads")},
    )
    pruner.step()
    seconds = time.perf_counter() - began
    for m in attention:  # numbers that the network keeps beside its weights
        if hasattr(m, "num_heads"):
            m.attn_dim = m.qkv.weight.shape[0] // 3
            m.head_dim = m.attn_dim // m.num_heads
    after = sum(each.numel() for each in model.parameters())
    found: dict[str, Any] = {"seconds": seconds, "removed": 1 - after / before, "valid": False}
    try:
        with torch.no_grad():
            got = shapes(model.eval()(*inputs))
        if got != want:
            raise ValueError(f"outputs have shapes {got}, not {want}")
    except Exception as error:
        return {**found, "why": words(error)}
    return {**found, "valid": True, **_exported(model, inputs, output)}


def _exported(model: Any, inputs: tuple[Any, ...], output: Path) -> dict[str, Any]:
    """What the pruned module holds as ONNX, or why it cannot be written."""
    from zoo import torch_net

    try:
        torch_net.write(model, inputs, "torchscript", output)
        return {"stored": check.stored(output)}
    except Exception as error:
        return {"unwritten": words(error)}


def shapes(value: Any) -> list[list[int]]:
    """The shapes of all tensors in what a module returns."""
    import torch

    if torch.is_tensor(value):
        return [list(value.shape)]
    each = value.values() if hasattr(value, "values") else value
    return [shape for part in each if part is not None for shape in shapes(part)]


def last(model: Any, outputs: list[list[int]]) -> list[Any]:
    """Layers that make an output: the last one, and all whose width is that of an output."""
    import torch

    widths = {shape[1] for shape in outputs if len(shape) == 2}
    layers = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
    found = [m for m in model.modules() if isinstance(m, layers)]
    linear = [m for m in found if isinstance(m, torch.nn.Linear)]
    ends = [m for m in linear if m.out_features in widths]
    if not ends:
        wide = {shape[1] for shape in outputs if len(shape) > 2} | widths
        ends = [m for m in found if m.weight.shape[0] in wide][-len(outputs) :]
    return ends or found[-1:]


def words(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:240]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tool, source, name, size, path, output = sys.argv[1:]
    try:
        if tool == "onnxsim":
            found = onnxsim(Path(path), Path(output))
        else:
            found = torch_pruning(source, name, int(size), Path(output))
    except Exception as error:
        found = {"valid": False, "why": words(error)}
    print("\n" + json.dumps(found))
