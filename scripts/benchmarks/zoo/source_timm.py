"""Classification networks of timm, and of torchvision (`tv:NAME`), with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import torch_net


def module(name: str, size: int) -> tuple[Any, tuple[Any, ...]]:
    """A network in evaluation mode, and an input; `size` 0 stands for the network's own."""
    import torch

    tv = torch_net.torchvision()
    torch.manual_seed(0)
    if name.startswith("tv:"):
        model, shape = tv.models.get_model(name[3:], weights=None), (3, 224, 224)
    else:
        model = _timm(name, size)
        shape = model.default_cfg["input_size"]
    if size:
        shape = (shape[0], size, size)
    return torch_net.perturb(model.eval()), (torch.randn(1, *shape),)


def _timm(name: str, size: int) -> Any:
    """A model of timm; one whose tensors depend on the size of its input is made for `size`."""
    import timm

    if size:
        try:
            return timm.create_model(name, img_size=size)
        except TypeError:  # takes no such argument: any size will do
            pass
    return timm.create_model(name)


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a network as ONNX; what wrote it."""
    model, inputs = module(name, size)
    return torch_net.write(model, inputs, exporter, path)
