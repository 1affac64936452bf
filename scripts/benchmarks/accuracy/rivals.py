"""The other tools, each a class that prunes one ONNX file as often as it is asked to.

    python -m accuracy.rivals TOOL MODEL.onnx OPTIONS

reads one JSON object a line (`ratio`, `output`, `last`) and answers each with one; it runs in an
environment that has the tool and needs no spa.  All are asked for L2 norms.  onnxsim folds
BatchNorm first, as its `simplify` does.  Torch-Pruning, which wants a torch module, gets one from a
source (see `accuracy.sources`) or from onnx2torch, leaves layers that make an output alone, and is
exported again.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from zoo import torch_net

TOLERANCE = 1e-3
"""Largest difference of a converted model's output, as a share of the largest entry."""


class Onnxsim:
    """`onnxsim.pruning`: one share of every layer, or with `everywhere` of all layers together."""

    def __init__(
        self, path: Path, *, everywhere: bool = False, tune: bool = False, calib: str | None = None,
        shape: list[int] | None = None,
    ) -> None:  # fmt: skip
        import onnx
        import onnxsim

        self.words = f"onnxsim {onnxsim.__version__}"
        self.original = onnx.load(path)
        # It finds what it can prune in a transformer only where no axis is open.
        fixed = None if shape is None else {i.name: shape for i in self.original.graph.input}
        self.model, _ = onnxsim.simplify(self.original, overwrite_input_shapes=fixed)
        self.everywhere, self.tune = everywhere, tune
        self.inputs = _batches(calib) if calib else None

    def prune(self, ratio: float, output: Path, last: bool) -> None:
        """Write the model with `ratio` of the channels and heads gone."""
        import onnx
        from onnxsim import pruning

        small = pruning.apply_structured_pruning(
            self.model, sparsity=ratio, global_sparsity=self.everywhere
        )
        small = pruning.apply_attention_head_pruning(small, sparsity=ratio)
        if last and self.tune:
            from onnxsim.finetune import apply_pruning_finetune

            rows = {} if self.inputs is None else {"calibration_data": self.inputs}
            small = apply_pruning_finetune(self.model, small, **rows)
        onnx.save(small, output)


class TorchPruning:
    """Torch-Pruning: `BasePruner` with `GroupMagnitudeImportance(p=2)`."""

    def __init__(self, path: Path, *, everywhere: bool = False, source: str = "") -> None:
        import onnx
        import torch
        import torch_pruning

        self.words = f"Torch-Pruning {torch_pruning.__version__}"
        self.everywhere, self.source = everywhere, source
        self.proto = onnx.load(path)
        stored = {tensor.name for tensor in self.proto.graph.initializer}
        self.inputs = [each for each in self.proto.graph.input if each.name not in stored]
        rng = np.random.default_rng(0)
        self.example = tuple(torch.from_numpy(_example(each, rng)) for each in self.inputs)
        self.module()  # fails early where there is no module

    def module(self) -> Any:
        """A new torch module that does what the file does.

        Raises:
            ValueError: there is none.
        """
        import torch

        maker = self.source or "onnx2torch"
        try:
            torch_net.torchvision()
            module = _from_source(self.source, self.proto) if self.source else _convert(self.proto)
            with torch.no_grad():
                got = module.eval()(*self.example)
        except Exception as error:
            words = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            raise ValueError(f"no PyTorch source ({maker}: {words})") from error
        want = _run(self.proto, self.inputs, self.example)
        gap = np.abs(want - (got if torch.is_tensor(got) else got[0]).numpy()).max()
        if not gap <= TOLERANCE * np.abs(want).max():
            raise ValueError(f"no PyTorch source (what {maker} makes computes something else)")
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        return module

    def prune(self, ratio: float, output: Path, last: bool) -> None:
        """Write the model with `ratio` of the channels gone."""
        import torch
        import torch_pruning as tp

        module = self.module()
        pruner = tp.pruner.BasePruner(
            module, self.example, tp.importance.GroupMagnitudeImportance(p=2),
            global_pruning=self.everywhere, pruning_ratio=ratio,
            ignored_layers=[*self._last(module), *getattr(module, "whole", ())],
            num_heads=dict(getattr(module, "heads", {})), prune_head_dims=True,
        )  # fmt: skip
        pruner.step()
        names = [each.name for each in self.inputs]
        ends = [each.name for each in self.proto.graph.output]
        axes = {
            each.name: {0: "N"}
            for each in (*self.inputs, *self.proto.graph.output)
            if _open(each.type.tensor_type.shape.dim)
        }
        with torch.no_grad():
            torch.onnx.export(
                module, self.example, str(output), opset_version=17, dynamo=False,
                input_names=names, output_names=ends, dynamic_axes=axes,
            )  # fmt: skip

    def _last(self, module: Any) -> list[Any]:
        """Layers whose output is the model's: as many channels as it has, and nothing behind."""
        import torch

        with torch.no_grad():
            got = module(*self.example)
        wide = {tuple(t.shape)[1] for t in ([got] if torch.is_tensor(got) else got) if t.ndim > 1}
        layers = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
        found = [m for m in module.modules() if isinstance(m, layers)]
        return [m for m in found[-len(wide) :] if m.weight.shape[0] in wide]


TOOLS: dict[str, Any] = {"onnxsim": Onnxsim, "torch-pruning": TorchPruning}


def _open(dims: Any) -> bool:
    """Whether the first axis of a shape has no size."""
    return bool(dims) and not dims[0].dim_value


def _convert(proto: Any) -> Any:
    """The module that onnx2torch makes of a model."""
    from onnx2torch import convert

    return convert(proto)


def _from_source(source: str, proto: Any) -> Any:
    """What a function makes, with the file's tensors as its state.

    Args:
        source: `MODULE:FUNCTION` or `FILE.py:FUNCTION`; the function may load weights itself.
        proto: a model whose initializers have the names of the module's state; exporters write
            equal tensors once and lead to the others by Identity.
    """
    import torch
    from onnx import numpy_helper

    place, _, name = source.rpartition(":")
    if place.endswith(".py"):
        sys.path.insert(0, str(Path(place).resolve().parent))
        place = Path(place).stem
    module = getattr(importlib.import_module(place), name)()
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Identity" and node.input[0] in held:
            held[node.output[0]] = held[node.input[0]]
    state = {
        key: torch.from_numpy(numpy_helper.to_array(held[key]).copy())
        for key in module.state_dict()
        if key in held
    }
    module.load_state_dict(state, strict=False)  # whether it is right is seen when it runs
    return module


def _batches(path: str) -> list[dict[str, np.ndarray]]:
    """Inputs from an .npz with one array per input, 32 rows at a time."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    count = len(next(iter(arrays.values())))
    return [{k: v[at : at + 32] for k, v in arrays.items()} for at in range(0, count, 32)]


def _example(info: Any, rng: np.random.Generator) -> np.ndarray:
    """Two rows for an input, or as many as it takes."""
    dims = info.type.tensor_type.shape.dim
    shape = [d.dim_value or (2 if k == 0 else 16) for k, d in enumerate(dims)]
    if info.type.tensor_type.elem_type == 1:
        return rng.standard_normal(shape).astype(np.float32)
    return np.ones(shape, np.int64)


def _run(proto: Any, inputs: list[Any], example: tuple[Any, ...]) -> np.ndarray:
    """The first output, in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    loaded = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {info.name: value.numpy() for info, value in zip(inputs, example, strict=True)}
    first: np.ndarray = loaded.run(None, feeds)[0]
    return first


def serve(tool: str, path: Path, options: dict[str, Any]) -> None:
    """Answer requests until there are no more; what the tools print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**facts: Any) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    try:
        made = TOOLS[tool](path, **options)
    except Exception as error:
        answer(error=str(error).splitlines()[0] or type(error).__name__)
        return
    answer(words=made.words)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        try:
            made.prune(asked["ratio"], Path(asked["output"]), asked["last"])
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}".splitlines()[0][:200])
            continue
        answer(seconds=time.perf_counter() - began, words=made.words)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
