"""Random mixtures of the motifs: `random_net(seed)` gives the same net for the same seed, forever.

A pool of features, images `[N, C, H, W]` or tokens `[N, L, C]`, grows by steps drawn at random;
each step takes features from the pool and adds what it makes of them.  Heads make outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto

from tests.nets.net import BATCH, SIZES, Net

OPSETS = (9, 11, 13, 17, 18, 21, 23)
WIDTHS = (4, 6, 8, 12)
WIDEST = 36
LENGTH = "L"


@dataclass(frozen=True)
class Feature:
    """A tensor of the pool; `area` is `(H, W)` of an image or `(L,)` of tokens.

    `L` is 0 where a symbol stands for the number of tokens, as reshapes write it.
    """

    name: str
    size: int
    area: tuple[int, ...]

    @property
    def image(self) -> bool:
        """Whether channels come before the area."""
        return len(self.area) == 2


@dataclass(frozen=True)
class RandomNet:
    """The model, and the steps it is made of, for a report."""

    model: ModelProto
    steps: tuple[str, ...]


class Mixture:
    """A net that grows; every method named in a list of steps is one step.

    A step returns the new features, or None where the feature it met does not suit it.
    """

    def __init__(self, seed: int, norms: bool) -> None:
        self.random = np.random.default_rng(seed)
        sizes = self.pick(*SIZES)
        batch = 2 if sizes == "stated" or self.chance(0.3) else BATCH
        self.net = Net(
            opset=self.pick(*OPSETS), batch=batch, sizes=sizes, norms=norms, seed=seed + 1
        )
        self.pool: list[Feature] = []
        self.steps: list[str] = []

    def pick(self, *options):
        """One of the options."""
        return options[int(self.random.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return bool(self.random.random() < share)

    def recent(self, like: Feature | None = None) -> Feature:
        """A feature made not long ago, of the area of `like`."""
        known = [f for f in self.pool if like is None or f.area == like.area]
        return self.pick(*known[-4:])

    def divisor(self, size: int) -> int:
        """A number of groups; 1 where there is none."""
        return self.pick(*[d for d in (2, 3, 4) if size % d == 0] or [1])

    def matched(self, x: Feature) -> Feature:
        """Another feature of the same area, with as many channels."""
        y = self.recent(x)
        return y if y.size == x.size else self.mapped(y, x.size)

    def mapped(self, x: Feature, size: int, kernel: int = 1) -> Feature:
        """A convolution or a linear layer."""
        if x.image:
            name = self.net.conv(x.name, x.size, size, kernel, bias=self.chance(0.7))
        else:
            name = self.net.linear(x.name, x.size, size, bias=self.chance(0.7))
        return Feature(name, size, x.area)

    def grow(self, steps: list[Callable[[Mixture, Feature], object]], count: int) -> None:
        """Take steps at random; those that do not suit count as taken."""
        for _ in range(count):
            step = self.pick(*steps)
            made = step(self, self.recent())
            if made is not None:
                self.steps.append(step.__name__)
                self.pool += made if isinstance(made, list) else [made]

    def heads(self) -> list[str]:
        """One to three outputs; now and then a feature as it is."""
        net, outputs = self.net, []
        for x in self.pool[-1:-4:-1][: int(self.random.integers(1, 4))]:
            if self.chance(0.06):
                outputs.append(net.Identity(x.name))
            elif x.area == (0,):
                y = net.reduce("ReduceMean", x.name, 1, keep=False)
                outputs.append(net.linear(y, x.size, 5))
            elif self.chance(0.5):
                weight = net.weight(x.size * prod(x.area), 5, scale=(x.size * prod(x.area)) ** -0.5)
                outputs.append(net.Gemm(net.Flatten(x.name), weight, net.weight(5)))
            else:
                outputs.append(self.mapped(x, 3).name)
        return outputs


def random_net(seed: int, norms: bool = False) -> RandomNet:
    """The net of a seed; without `norms` nothing in it takes statistics over channels."""
    from tests.nets import random_steps as steps

    mix = Mixture(seed, norms)
    kind = mix.pick("images", "tokens", "mixed", "symbolic")
    mix.steps.append(f"{kind} opset {mix.net.opset} batch {mix.net.batch} {mix.net.sizes}")
    if kind == "tokens":
        x = Feature(mix.net.input("x", 6, 5), 5, (6,))
    elif kind == "symbolic":
        x = Feature(mix.net.input("x", LENGTH, 5), 5, (0,))
    else:
        x = Feature(mix.net.input("x", 3, 4, 4), 3, (4, 4))
    mix.pool = [mix.mapped(x, mix.pick(*WIDTHS), 3)]
    mix.grow(getattr(steps, kind.upper()), int(mix.random.integers(4, 12)))
    return RandomNet(mix.net.done(*mix.heads()), tuple(mix.steps))
