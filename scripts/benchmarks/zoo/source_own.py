"""Small networks of kinds that timm and transformers lack, with random weights.

U-Nets, generators, detectors, speech, graph, recurrent and tabular networks: each the bare
skeleton of its kind, a few thousand to a few hundred thousand numbers.  Needs torch.
"""

# ruff: noqa: D102 - what `forward` does is what the class says

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo import torch_net
from zoo.own_parts import (
    Conformer,
    ConvBlock,
    CrossStage,
    EdgeConv,
    Experts,
    GraphAttention,
    Memory,
    Pyramid,
    Residual,
    Seq2Seq,
    Spatial,
    WaveNet,
)


def down(i: int, o: int) -> nn.Module:
    """Half the size."""
    return nn.Sequential(ConvBlock(i, o), nn.MaxPool2d(2))


class UNet(nn.Module):
    """Down and up again, each level joined to its counterpart."""

    def __init__(self, up: str, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.one, self.two = ConvBlock(3, 16, norm=norm), ConvBlock(16, 32, norm=norm)
        self.low = ConvBlock(32, 64, norm=norm)
        self.up = nn.ModuleList([self._up(64, 32, up), self._up(32, 16, up)])
        self.after = nn.ModuleList([ConvBlock(64, 32, norm=norm), ConvBlock(32, 16, norm=norm)])
        self.last = nn.Conv2d(16, 2, 1)

    def _up(self, i: int, o: int, how: str) -> nn.Module:
        if how == "transposed":
            return nn.ConvTranspose2d(i, o, 2, 2)
        if how == "shuffled":
            return nn.Sequential(nn.Conv2d(i, 4 * o, 1), nn.PixelShuffle(2))
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(i, o, 1))

    def forward(self, x: Any) -> Any:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        low = self.low(F.max_pool2d(two, 2))
        two = self.after[0](torch.cat([self.up[0](low), two], 1))
        return self.last(self.after[1](torch.cat([self.up[1](two), one], 1)))


def generator() -> nn.Module:
    """Noise to a picture, by transposed convolutions."""
    widths = (64, 32, 16)
    steps: list[nn.Module] = [nn.ConvTranspose2d(24, 64, 4)]
    for i, o in pairwise(widths):
        steps += [nn.BatchNorm2d(i), nn.ReLU(), nn.ConvTranspose2d(i, o, 4, 2, 1)]
    return nn.Sequential(
        *steps, nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 3, 1, 1), nn.Tanh()
    )


def discriminator() -> nn.Module:
    """A picture to one number, with instance normalisation."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1), nn.InstanceNorm2d(32, affine=True), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1), nn.InstanceNorm2d(64), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 1, 4),
    )  # fmt: skip


class Detector(nn.Module):
    """Three scales of boxes, cross-stage blocks and a pyramid, decoded to pixels."""

    def __init__(self, block: str, spread: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 16, 2), ConvBlock(16, 32, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBlock(i, o, 2), CrossStage(o, o, 2, block))
            for i, o in ((32, 32), (32, 64), (64, 128))
        )
        self.neck = Pyramid((32, 64, 128), 32, block)
        self.bins = 8 if spread else 1
        self.boxes = nn.ModuleList(
            nn.Sequential(ConvBlock(32, 32), nn.Conv2d(32, 4 * self.bins, 1)) for _ in range(3)
        )
        self.classes = nn.ModuleList(
            nn.Sequential(ConvBlock(32, 32), nn.Conv2d(32, 5, 1)) for _ in range(3)
        )

    def forward(self, x: Any) -> Any:
        found, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        levels = self.neck(found)
        boxes = torch.cat([h(f).flatten(2) for h, f in zip(self.boxes, levels, strict=True)], 2)
        classes = torch.cat([h(f).flatten(2) for h, f in zip(self.classes, levels, strict=True)], 2)
        if self.bins > 1:  # a distribution over distances, and its mean
            n, _, a = boxes.shape
            spread = boxes.view(n, 4, self.bins, a).transpose(2, 1).softmax(1)
            weights = torch.arange(self.bins, dtype=spread.dtype).view(1, -1, 1, 1)
            boxes = (spread * weights).sum(1)
        near, far = boxes.chunk(2, 1)
        return torch.cat([near + far, far - near, classes.sigmoid()], 1)


class Recurrent(nn.Module):
    """Words to a class through recurrent layers."""

    def __init__(self, kind: type[nn.RNNBase], layers: int, both: bool, last: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 24)
        self.core = kind(24, 32, layers, bidirectional=both, batch_first=True)
        self.head = nn.Linear(32 * (1 + both), 5)
        self.last = last

    def forward(self, ids: Any) -> Any:
        found, _ = self.core(self.words(ids))
        return self.head(found[:, -1] if self.last else found)


class Spectral(nn.Module):
    """Convolutions over a spectrogram, a bidirectional GRU, a class for every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(ConvBlock(1, 16, (2, 1)), ConvBlock(16, 16, (2, 1)))
        self.core = nn.GRU(16 * 4, 32, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 12)

    def forward(self, x: Any) -> Any:
        x = self.front(x).permute(0, 3, 1, 2).flatten(2)
        return self.head(self.core(x)[0]).log_softmax(-1)


class Points(nn.Module):
    """Clouds of points by shared layers and a maximum, with a learned 3 x 3 transform."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(nn.Conv1d(3, 16, 1), nn.ReLU(), nn.Conv1d(16, 32, 1), nn.ReLU())
        self.matrix = nn.Linear(32, 9)
        self.body = nn.Sequential(
            nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Any) -> Any:
        turn = self.matrix(self.turn(x).amax(2)).view(-1, 3, 3)
        return self.head(self.body(turn @ x).amax(2))


class Autoencoder(nn.Module):
    """A variational one: mean and spread, the mean decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(down(1, 16), down(16, 32), nn.Flatten(), nn.Linear(512, 64))
        self.mean, self.spread = nn.Linear(64, 12), nn.Linear(64, 12)
        self.decode = nn.Sequential(
            nn.Linear(12, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        x = self.encode(x).relu()
        return self.decode(self.mean(x)), self.spread(x).exp()


class Tabular(nn.Module):
    """Wide and deep: embedded columns beside numbers, products of pairs, a residual stack."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(10, 8) for _ in range(3))
        self.first = nn.Linear(3 * 8 + 6, 32)
        self.stack = nn.ModuleList(Residual(32, 64) for _ in range(2))
        self.wide, self.head = nn.Linear(6, 2), nn.Linear(32 + 3, 2)

    def forward(self, ids: Any, x: Any) -> Any:
        words = [column(ids[:, k]) for k, column in enumerate(self.columns)]
        pairs = [(words[a] * words[b]).sum(1, keepdim=True) for a, b in ((0, 1), (0, 2), (1, 2))]
        deep = self.first(torch.cat([*words, x], 1))
        for each in self.stack:
            deep = each(deep)
        return self.head(torch.cat([deep, *pairs], 1)) + self.wide(x)


class Towers(nn.Module):
    """Two inputs through one network; how much they are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(down(3, 16), down(16, 32), nn.Flatten(), nn.Linear(512, 24))

    def forward(self, a: Any, b: Any) -> Any:
        a, b = F.normalize(self.tower(a)), F.normalize(self.tower(b))
        return a @ b.T, torch.cat([a - b, a * b], 1).norm(dim=1)


def attention(pre: bool) -> nn.Module:
    """PyTorch's own transformer encoder."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, norm_first=pre, batch_first=True)
    return nn.Sequential(
        nn.Linear(12, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Linear(32, 5),
    )  # fmt: skip


def perceptron(norm: bool) -> nn.Module:
    """Layers one after the other."""
    more = [nn.LayerNorm(64)] if norm else []
    return nn.Sequential(
        nn.Linear(20, 64), *more, nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 4)
    )


def volume() -> nn.Module:
    """Convolutions in three dimensions."""
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1, groups=2), nn.GroupNorm(4, 16), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


IMAGE, IDS = (1, 3, 64, 64), (1, 12)
NETS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "unet transposed": (lambda: UNet("transposed"), [IMAGE]),
    "unet bilinear": (lambda: UNet("bilinear"), [IMAGE]),
    "unet pixel shuffle": (lambda: UNet("shuffled"), [IMAGE]),
    "unet instance norm": (lambda: UNet("transposed", nn.InstanceNorm2d), [IMAGE]),
    "gan generator": (generator, [(1, 24, 1, 1)]),
    "gan discriminator": (discriminator, [(1, 3, 32, 32)]),
    "detector csp": (lambda: Detector("csp", False), [IMAGE]),
    "detector split": (lambda: Detector("split", True), [IMAGE]),
    "lstm": (lambda: Recurrent(nn.LSTM, 1, False, True), [IDS]),
    "lstm two layers, both ways": (lambda: Recurrent(nn.LSTM, 2, True, False), [IDS]),
    "gru": (lambda: Recurrent(nn.GRU, 2, False, True), [IDS]),
    "gru both ways": (lambda: Recurrent(nn.GRU, 1, True, False), [IDS]),
    "rnn": (lambda: Recurrent(nn.RNN, 2, False, False), [IDS]),
    "speech spectral gru": (Spectral, [(1, 1, 16, 24)]),
    "speech conformer": (Conformer, [(1, 24, 16)]),
    "speech wavenet": (WaveNet, [(1, 8, 64)]),
    "gat": (GraphAttention, [(10, 12), (10, 10)]),
    "edgeconv": (EdgeConv, [(1, 3, 32)]),
    "pointnet": (Points, [(1, 3, 40)]),
    "seq2seq attention": (Seq2Seq, [IDS, (1, 7)]),
    "memory cells": (Memory, [(1, 6, 8)]),
    "mixture of experts": (Experts, [(6, 24)]),
    "transformer post-norm": (lambda: attention(False), [(1, 9, 12)]),
    "transformer pre-norm": (lambda: attention(True), [(1, 9, 12)]),
    "spatial attention": (Spatial, [(1, 16, 16, 16)]),
    "perceptron": (lambda: perceptron(False), [(2, 20)]),
    "perceptron layer norm": (lambda: perceptron(True), [(2, 20)]),
    "volume": (volume, [(1, 1, 8, 16, 16)]),
    "variational autoencoder": (Autoencoder, [(1, 1, 16, 16)]),
    "tabular": (Tabular, [(4, 3), (4, 6)]),
    "siamese": (Towers, [(2, 3, 16, 16), (2, 3, 16, 16)]),
}
WHOLE = {IDS, (1, 7), (4, 3)}
"""Shapes of inputs that are ids."""


def module(name: str, size: int) -> tuple[Any, tuple[Any, ...]]:
    """A network in evaluation mode, and its inputs."""
    torch.manual_seed(0)
    make, shapes = NETS[name]
    model = torch_net.perturb(make().eval())
    inputs = tuple(
        torch.randint(0, 10, shape) if shape in WHOLE else torch.randn(shape) for shape in shapes
    )
    return model, inputs


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a network as ONNX; what wrote it."""
    model, inputs = module(name, size)
    return torch_net.write(model, inputs, exporter, path)
