"""The network of the sample models: residual blocks first, depthwise (inverted) blocks after.

Module names become the names in the ONNX file, so they are chosen to be read there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Block = tuple[str, int, int]  # kind, width, stride
EXPAND = 4  # an inverted block is this many times wider inside


def named(**modules: nn.Module) -> nn.Sequential:
    """One after the other, by name."""
    return nn.Sequential(OrderedDict(modules))


def conv(
    reads: int, makes: int, kernel: int, stride: int = 1, *, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution, BatchNorm and, unless the result is added to something, ReLU."""
    weight = nn.Conv2d(reads, makes, kernel, stride, kernel // 2, groups=groups, bias=False)
    steps = named(conv=weight, bn=nn.BatchNorm2d(makes))
    if relu:
        steps.add_module("relu", nn.ReLU())
    return steps


class Sum(nn.Module):
    """A body and a shortcut around it, added."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, last: nn.Module) -> None:
        """Run `last` on the sum."""
        super().__init__()
        self.body, self.shortcut, self.last = body, shortcut, last

    def forward(self, x: Tensor) -> Tensor:
        """Body + shortcut."""
        return self.last(self.body(x) + self.shortcut(x))


def residual(reads: int, makes: int, stride: int) -> nn.Module:
    """Two 3 x 3 convolutions; the shortcut is projected where the shape changes."""
    same = reads == makes and stride == 1
    shortcut = nn.Identity() if same else conv(reads, makes, 1, stride, relu=False)
    body = named(first=conv(reads, makes, 3, stride), second=conv(makes, makes, 3, relu=False))
    return Sum(body, shortcut, nn.ReLU())


def inverted(reads: int, makes: int, stride: int) -> nn.Module:
    """Expand, depthwise 3 x 3, project; added to the input where the shape stays."""
    inner = EXPAND * reads
    body = named(
        expand=conv(reads, inner, 1),
        depthwise=conv(inner, inner, 3, stride, groups=inner),
        project=conv(inner, makes, 1, relu=False),
    )
    same = reads == makes and stride == 1
    return Sum(body, nn.Identity(), nn.Identity()) if same else body


KINDS = {"residual": residual, "inverted": inverted}


class Normalise(nn.Module):
    """Sub and Div in the graph: training pixels get mean 0 and spread 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, pixels: Tensor) -> None:
        """Measure `pixels`."""
        super().__init__()
        self.register_buffer("mean", pixels.mean())
        self.register_buffer("std", pixels.std())

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a batch."""
        return (x - self.mean) / self.std


def network(blocks: Sequence[Block], head: int, pixels: Tensor) -> nn.Sequential:
    """Normalisation, stem (as wide as the first block), blocks, head, classifier for 10 classes."""
    widths = [blocks[0][1], *(makes for _, makes, _ in blocks)]
    return named(
        normalise=Normalise(pixels),
        stem=conv(1, widths[0], 3),
        **{
            f"block{at + 1}": KINDS[kind](widths[at], makes, stride)
            for at, (kind, makes, stride) in enumerate(blocks)
        },
        head=conv(widths[-1], head, 1),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(head, 10),
    ).to(memory_format=torch.channels_last)  # trains about twice as fast on a CPU
