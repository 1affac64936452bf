"""Images, small networks, and how they are trained."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Split:
    """Images, N x 1 x H x W, and their classes."""

    images: Tensor
    labels: Tensor

    def part(self, start: int, stop: int) -> Split:
        """Some of them."""
        return Split(self.images[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class Task:
    """Images to learn from, to choose by and to report on, and how long a network is trained.

    Attributes:
        epochs: from nothing, also of what was pruned before.
        more: after pruning.
    """

    learn: Split
    validation: Split
    test: Split
    epochs: int
    more: int


def digits(_: Path) -> Task:
    """797, 500 and 500 of the images that scikit-learn carries."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = torch.tensor(pixels.reshape(-1, 1, 8, 8) / 8 - 0.6, dtype=torch.float32)
    whole = Split(images[order], torch.tensor(labels[order]))
    return Task(whole.part(0, 797), whole.part(797, 1297), whole.part(1297, 1797), 20, 10)


def fashion(folder: Path) -> Task:
    """3,000 and 5,000 of the training images and all test images, 16 x 16."""

    def idx(name: str, header: int) -> np.ndarray:
        raw = gzip.decompress((folder / name).read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    found = []
    for part in ("train", "t10k"):
        pixels = idx(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:10000]
        framed = functional.pad(torch.tensor(pixels / 128, dtype=torch.float32), (2, 2, 2, 2))
        labels = torch.tensor(idx(f"{part}-labels-idx1-ubyte.gz", 8)[:10000]).long()
        found.append(Split(functional.avg_pool2d(framed, 2) - 0.45, labels))
    train, test = found
    return Task(train.part(0, 3000), train.part(3000, 8000), test, 10, 5)


TASKS: dict[str, Callable[[Path], Task]] = {"digits": digits, "fashion": fashion}


def conv(reads: int, makes: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution and its norm."""
    weight = nn.Conv2d(reads, makes, 3, stride, 1, bias=False)
    return nn.Sequential(weight, nn.BatchNorm2d(makes))


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is projected."""

    def __init__(self, reads: int, makes: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(reads, makes, stride), conv(makes, makes)
        project = nn.Conv2d(reads, makes, 1, stride, bias=False)
        self.shortcut = nn.Sequential(project, nn.BatchNorm2d(makes))

    def forward(self, x: Tensor) -> Tensor:
        """As of any module."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def residual() -> nn.Module:
    """44,182 parameters."""
    return nn.Sequential(
        conv(1, 12), nn.ReLU(), Residual(12, 12, 1), Residual(12, 24, 2), Residual(24, 48, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


def plain() -> nn.Module:
    """37,578 parameters, and dropout."""
    return nn.Sequential(
        conv(1, 16), nn.ReLU(), conv(16, 24), nn.ReLU(), nn.MaxPool2d(2),
        conv(24, 32), nn.ReLU(), conv(32, 48), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10),
    )  # fmt: skip


NETS = {"plain": plain, "residual": residual}


def made(kind: str, seed: int) -> nn.Module:
    """A network that is not trained yet."""
    torch.manual_seed(seed)
    return NETS[kind]()


def count(net: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in net.parameters())


def nothing() -> None:
    """What is done after a backward pass where there is nothing to do."""


def no_penalty() -> float:
    """What is added to a loss to which nothing is added."""
    return 0.0


def train(
    net: nn.Module,
    data: Split,
    epochs: int,
    rate: float,
    seed: int,
    penalty: Callable[[], Tensor | float] = no_penalty,
    after: Callable[[], None] = nothing,
) -> None:
    """SGD, 64 images a step, one cycle of the rate.

    Batches, shifts by a pixel and dropout hang on the seed alone.  `after` runs after every
    backward pass.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    steps = len(data.images) // 64
    sgd = torch.optim.SGD(net.parameters(), rate, 0.9, weight_decay=5e-4, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, rate, epochs * steps)
    height, width = data.images.shape[2:]
    framed = functional.pad(data.images, (1, 1, 1, 1), value=float(data.images.min()))
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(data.images), generator=draw)
        for at in order[: steps * 64].split(64):
            y, x = torch.randint(3, (2,), generator=draw).tolist()
            images = framed[at, :, y : y + height, x : x + width]
            loss = functional.cross_entropy(net(images), data.labels[at]) + penalty()
            sgd.zero_grad()
            loss.backward()
            after()
            sgd.step()
            cycle.step()
    net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, data: Split) -> float:
    """Top-1 in %."""
    net.eval()
    pairs = zip(data.images.split(500), data.labels.split(500), strict=True)
    return 100 * sum(int((net(x).argmax(1) == y).sum()) for x, y in pairs) / len(data.labels)
