"""Training steps per second of an ONNX file in `spa.torch`, beside the same network in PyTorch.

    python scripts/benchmarks/bench_torch.py [--seconds 5] [--rounds 8]

Both train the same weights on the same batch with SGD, in turns, on one thread; what is printed is
the median over rounds of the ratio within a round. Time is that of the processor, so that other
work on the machine counts little.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import spa.torch


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, norm: bool = True) -> None:
        super().__init__()
        make = nn.BatchNorm2d if norm else lambda _: nn.Identity()
        self.a = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.b = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.n, self.m = make(channels), make(channels)

    def forward(self, x: Tensor) -> Tensor:
        """As of any module."""
        y = torch.relu(self.n(self.a(x)))
        return torch.relu(x + self.m(self.b(y)))


def residual(norm: bool) -> nn.Module:
    """A small network of pictures."""
    body = [Residual(32, norm) for _ in range(6)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *body, *head)


class Separable(nn.Module):
    """An inverted bottleneck."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.f = nn.Sequential(
            nn.Conv2d(channels, wide, 1),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.ReLU6(),
            nn.Conv2d(wide, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """As of any module."""
        return x + self.f(x)


def separable() -> nn.Module:
    """A small network of inverted bottlenecks."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)]
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), *(Separable(24) for _ in range(6)), *head)


class Block(nn.Module):
    """A block of a transformer, written as most are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.n, self.m = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """As of any module."""
        b, t, c = x.shape
        parts = self.qkv(self.n(x)).reshape(b, t, 3, self.heads, c // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
        x = x + self.o(y)
        return x + self.down(functional.gelu(self.up(self.m(x))))


class Transformer(nn.Module):
    """A small encoder of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 128)
        self.blocks = nn.Sequential(*(Block(128, 4) for _ in range(4)))
        self.head = nn.Linear(128, 10)

    def forward(self, ids: Tensor) -> Tensor:
        """As of any module."""
        return self.head(self.blocks(self.table(ids)).mean(1))


def exported(net: nn.Module, x: Tensor, dynamo: bool) -> bytes:
    """The network as an ONNX file, not folded."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(net.eval(), (x,), dynamo=True, verbose=False).save(file)
        else:
            more = {"dynamo": False, "opset_version": 17, "do_constant_folding": False}
            training = torch.onnx.TrainingMode.PRESERVE
            torch.onnx.export(net.eval(), (x,), file, training=training, **more)
    return file.getvalue()


def stepper(net: nn.Module, x: Tensor) -> Callable[[], None]:
    """One step of training."""
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-3)
    target = torch.arange(len(x)) % 10

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(net(x), target).backward()
        optimiser.step()

    return step


def rate(step: Callable[[], None], seconds: float) -> float:
    """Steps per second of processor time."""
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds:
        step()
        count += 1
    return count / (time.process_time() - begin)


def main() -> None:
    """Print a row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--dynamo", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = torch.randn(8, 3, 32, 32)
    nets = {
        "residual": (residual(True), pictures),
        "residual, no norms": (residual(False), pictures),
        "separable": (separable(), pictures),
        "transformer": (Transformer(), torch.randint(0, 200, (4, 64))),
    }
    print(f"{'':20} PyTorch  spa.torch  ratio  (steps per second, one thread)")
    for name, (net, x) in nets.items():
        for each in (*net.parameters(), *net.buffers()):  # an exporter merges what is equal
            if each.dim() == 1:
                each.data += 0.1 * torch.rand_like(each)
        module = spa.torch.load(exported(net, x, options.dynamo))
        with torch.no_grad():
            assert torch.allclose(net.eval()(x), module(x), atol=1e-4)
        steps = stepper(net.eval(), x), stepper(module, x)
        rows = [[rate(s, options.seconds) for s in steps] for _ in range(options.rounds)]
        a, b = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(row[1] / row[0] for row in rows)
        print(f"{name:20} {a:7.2f} {b:10.2f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
