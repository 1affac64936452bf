"""PyTorch definitions of networks that were exported with their state's names.

Torch-Pruning needs one: `--torch-source accuracy.sources:resnet56`, or a function of any other
module that can be imported, such as `torchvision.models:mobilenet_v2`, or `FILE.py:FUNCTION`.  A
module may say in `heads` how many heads a linear layer has, and in `whole` what is not to be cut.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Padded(nn.Module):
    """Shortcut without parameters: every other pixel, and zeros for channels that are new."""

    def __init__(self, missing: int) -> None:
        super().__init__()
        self.missing = missing

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` to `[n, c + missing, h / 2, w / 2]`."""
        side = self.missing // 2
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, side))


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, wide: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Identity() if wide == out else Padded(out - wide)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, wide, h, w]` to `[n, out, h / stride, w / stride]`."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """The CIFAR-10 ResNets of He et al. (2015), shortcut A, with the usual names."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for k, (wide, out) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            first = Block(wide, out, 1 if wide == out else 2)
            more = [Block(out, out, 1) for _ in range((depth - 2) // 6 - 1)]
            setattr(self, f"layer{k}", nn.Sequential(first, *more))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 3, 32, 32]` to `[n, 10]`."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def resnet20() -> nn.Module:
    """20 layers."""
    return CifarResNet(20)


def resnet56() -> nn.Module:
    """56 layers."""
    return CifarResNet(56)


def fashion() -> nn.Module:
    """The carried model."""
    from sample_networks import network
    from train_sample import FASHION

    return network(FASHION.blocks, FASHION.head, torch.rand(2, 1, 28, 28))
