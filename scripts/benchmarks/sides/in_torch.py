"""PyTorch: `torch.onnx.export`, and back by `spa.torch.cut`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxscript  # noqa: F401 - the exporter's
import torch
from torch import nn

import spa.torch
from sides import BATCH, CLASSES, RATE, WIDTHS, Data, batches

words = f"PyTorch {torch.__version__.split('+')[0]}"


def build(seed: int) -> nn.Module:
    """As of all sides."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    first, second, hidden = WIDTHS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * second, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES),
    )  # fmt: skip


def fed(pictures: np.ndarray) -> np.ndarray:
    """Channels first."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def logits(net: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """As of all sides."""
    with torch.no_grad():
        return net.eval()(torch.from_numpy(fed(pictures))).numpy()


def train(net: nn.Module, data: Data, epochs: int, seed: int) -> nn.Module:
    """As of all sides."""
    images, labels = torch.from_numpy(fed(data.train)), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    net.train()
    for rows in map(torch.from_numpy, batches(len(images), epochs, seed)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()
    return net.eval()


def export(net: nn.Module, path: Path) -> None:
    """As of all sides."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(BATCH, 1, 8, 8),),
        str(path),
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        external_data=False,
        verbose=False,
    )


def back(net: nn.Module, export: Path, slim: Path) -> nn.Module:
    """As of all sides."""
    return spa.torch.cut(net, slim, export=export)
