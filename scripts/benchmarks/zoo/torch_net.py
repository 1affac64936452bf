"""What every source of torch modules shares: perturbed tensors, two exporters, torchvision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

OPSET = {"torchscript": 17, "dynamo": 18}
KEPT: list[Any] = []
"""Declared operators live as long as this."""


def torchvision() -> Any:
    """torchvision; operators that its wheel lacks beside a CPU torch are declared."""
    import torch

    try:
        import torchvision as found
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        KEPT.append(torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            KEPT[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision as found
    return found


def perturb(model: Any) -> Any:
    """Move what an initialisation leaves constant, so that no two tensors are equal.

    Statistics, norms, biases and gains (tensors of at most one axis) move by up to 0.1, and so do
    tables that are all zeros or ones; variances stay positive.
    """
    import torch

    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            if tensor.ndim <= 1 or bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(0.1 * torch.rand_like(tensor) + (0.1 if "var" in key else 0.0))
    return model


def write(model: Any, inputs: tuple[Any, ...], exporter: str, path: Path, **more: Any) -> str:
    """Export a module; what wrote it.

    Args:
        model: in evaluation mode.
        inputs: one example for each of its arguments.
        exporter: `torchscript` or `dynamo`.
        path: of the ONNX file.
        more: for the exporter.
    """
    import torch

    torch.backends.mha.set_fastpath_enabled(False)  # fused layers have no ONNX form
    opset = OPSET[exporter]
    with torch.no_grad():
        torch.onnx.export(
            model, inputs, str(path), opset_version=opset, dynamo=exporter == "dynamo",
            **({"external_data": False} if exporter == "dynamo" else {}), **more,
        )  # fmt: skip
    return f"PyTorch {torch.__version__.split('+')[0]}, {exporter}, opset {opset}"
