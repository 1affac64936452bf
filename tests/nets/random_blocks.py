"""Random nets of blocks: `random_blocks_net(seed)` gives the same net for the same seed, forever.

A stream goes through blocks.  A block is a few layers, or blocks again, and a way past them: it is
added, stacked or multiplied.  Families differ in which layers and blocks they draw from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tests.nets.fused import FUSED
from tests.nets.net import BATCH, Net
from tests.nets.random_lengths import LengthsNet
from tests.nets.random_net import WIDTHS, Feature, Mixture

OPSETS = (13, 17, 18, 21)
DEEPEST = 3
"""Blocks lie in one another this deep."""
HALVED = 2
"""How often the area is halved, at most."""
AREA, TOKENS, MEMORY = (8, 8), 8, 5
"""What is analysed, and the sizes of a net that has no symbols."""
TIMES = {"H": (1, 2, 3), "W": (1, 2), "T": (1, 2, 3), BATCH: (1, 3, 2), "P": (1, 4, 7)}
"""Sizes to look at; of an area that is halved, times as much as can be."""

Step = Callable[["Blocks", Feature], Feature | list[Feature] | None]


@dataclass(frozen=True)
class Family:
    """What the nets of a family are made of."""

    layers: Sequence[Step]
    blocks: Sequence[Step]
    image: bool = False
    fused: float = 0.0  # the share of nets in which sums are part of a norm


class Blocks(Mixture):
    """A net that grows along a stream."""

    def __init__(self, seed: int, family: Family) -> None:
        self.random = np.random.default_rng(seed)
        self.family, self.fused = family, self.chance(family.fused)
        self.open = self.chance(0.5)
        sizes = self.pick("zero", "minus", "computed")
        self.net = Net(self.pick(*OPSETS), BATCH, sizes=sizes, seed=seed + 1)
        self.pool: list[Feature] = []
        self.steps: list[str] = []
        self.shown: list[str] = []
        self.depth = self.halved = self.lowest = 0
        self.normed: dict[str, str] = {}
        self.known: dict[tuple[bool, int], list[Feature]] = {}
        self.aside = False

    def recent(self, like: Feature | None = None) -> Feature:
        """What a block has begun with, where the area is that of the stream."""
        return self.pick(*self.known.get((self.aside, self.halved), [like])[-4:])

    def start(self) -> Feature:
        """A first layer of what the model is given."""
        return self.mapped(self.entry(), self.pick(*WIDTHS))

    def entry(self) -> Feature:
        """The input of the model."""
        area = AREA if self.family.image else (TOKENS,)
        read = 3 if self.family.image else 5
        sizes = (("H", "W") if self.family.image else ("T",)) if self.open else area
        shape = (read, *sizes) if self.family.image else (*sizes, read)
        return Feature(self.net.input("x", *shape), read, (0,) * len(area) if self.open else area)

    def normalised(self, x: Feature) -> Feature:
        """A norm of stored statistics."""
        return Feature(self.net.batch_norm(x.name, x.size), x.size, x.area)

    @cached_property
    def memory(self) -> Feature:
        """What an encoder makes of a second input; read wherever it is asked for."""
        from tests.nets.random_blocks_steps import ENCODER

        place = self.family, self.depth, self.aside
        self.family, self.depth, self.aside = ENCODER, DEEPEST - 1, True
        length = "P" if self.open else MEMORY
        x = Feature(self.net.input("memory", length, 6), 6, (0 if self.open else MEMORY,))
        x = self.mapped(x, self.pick(*WIDTHS))
        for _ in range(self.pick(1, 2)):
            x = self.taken(x, ENCODER.blocks)
        self.family, self.depth, self.aside = place
        return x

    @cached_property
    def embedding(self) -> Feature:
        """A vector for the whole picture, as of a step or a style."""
        net, size = self.net, self.pick(4, 6)
        return Feature(net.Tanh(net.linear(net.input("step", 4), 4, size)), size, ())

    def inner(self, x: Feature) -> Feature:
        """A few layers, or blocks, of a stream; where it has a norm beside it they read that."""
        self.depth += 1
        self.known.setdefault((self.aside, self.halved), []).append(x)
        y = Feature(self.normed.get(x.name, x.name), x.size, x.area)
        for _ in range(self.pick(1, 2, 2, 3)):
            nested = self.depth < DEEPEST and self.chance(0.3)
            y = self.taken(y, self.family.blocks if nested else self.family.layers)
        self.depth -= 1
        return y

    def taken(self, x: Feature, steps: Sequence[Step]) -> Feature:
        """One of some steps; a layer where it does not suit."""
        place, step = len(self.steps), self.pick(*steps)
        made = step(self, x)
        self.steps.insert(place, "." * self.depth + (step.__name__ if made else "mapped"))
        made = made or self.mapped(x, self.pick(*WIDTHS))
        return made[0] if isinstance(made, list) else made

    def total(self, x: Feature, y: Feature) -> Feature:
        """The sum of two features of one size, with what follows it; now and then an output."""
        net, names = self.net, [x.name, y.name][:: self.pick(1, -1)]
        if self.fused and not x.image:
            return self._normed_total(x, names)
        name = net.node(self.pick("Add", "Add", "Sum"), *names)
        if self.chance(0.06):
            self.shown.append(name)
        if self.chance(0.4):
            name = net.Relu(name) if x.image else net.layer_norm(name, x.size)
        return Feature(name, x.size, x.area)

    def _normed_total(self, x: Feature, names: list[str]) -> Feature:
        """A sum within a norm: the norm goes on, or the sum does beside it."""
        net, plain = self.net, self.chance(0.4)
        op = "SkipSimplifiedLayerNormalization" if plain else "SkipLayerNormalization"
        more = [net.positive(x.size), *([] if plain else [net.weight(x.size, scale=0.1)])]
        more += [net.weight(x.size, scale=0.3)] if self.chance(0.5) else []
        made = net.node(op, *names, *more, domain=FUSED, outs=4)
        net.nodes[-1].output[1:3] = ["", ""]
        if self.chance(0.5):
            self.normed[made[3]] = made[0]
            return Feature(made[3], x.size, x.area)
        del net.nodes[-1].output[1:]
        return Feature(made[0], x.size, x.area)

    def stacked(self, x: Feature, y: Feature) -> Feature:
        """Both, one behind the other."""
        name = self.net.Concat(x.name, y.name, axis=1 if x.image else 2)
        return Feature(name, x.size + y.size, x.area)

    @contextmanager
    def below(self) -> Iterator[None]:
        """While the area is half as large."""
        self.halved += 1
        self.lowest = max(self.lowest, self.halved)
        yield
        self.halved -= 1

    def down(self, x: Feature) -> Feature:
        """Half the area."""
        net, size = self.net, self.pick(*WIDTHS)
        area = tuple(a // 2 for a in x.area)
        if not x.image:
            y = net.Reshape(x.name, net.ints(0, area[0] or -1, 2 * x.size))
            return self.mapped(Feature(y, 2 * x.size, area), size)
        if self.chance(0.5):
            return Feature(net.conv(x.name, x.size, size, stride=2), size, area)
        op = self.pick("MaxPool", "AveragePool")
        y = net.node(op, x.name, kernel_shape=[2, 2], strides=[2, 2])
        return Feature(y, x.size, area)

    def up(self, x: Feature) -> Feature:
        """Twice the area."""
        net, size = self.net, self.pick(*WIDTHS)
        area = tuple(2 * a for a in x.area)
        if not x.image:
            y = self.mapped(x, 2 * size)
            return Feature(net.Reshape(y.name, net.ints(0, area[0] or -1, size)), size, area)
        if self.chance(0.5):
            return Feature(net.resize(x.name, 2), x.size, area)
        kernel = self.pick(2, 4)
        y = net.conv(x.name, x.size, size, kernel, stride=2, op="ConvTranspose")
        return Feature(y, size, area)

    def ends(self, x: Feature) -> list[str]:
        """Outputs: of the stream, of an earlier place of it, and what was shown on the way."""
        others = [self.pick(*self.pool)] if self.chance(0.3) else []
        return [self._end(each) for each in (x, *others)] + self.shown

    def _end(self, x: Feature) -> str:
        return self.net.head(x.name, x.size) if x.image else self.mapped(x, 3).name


def random_blocks_net(seed: int, family: str = "") -> LengthsNet:
    """The net of a seed, of any family or of one; sizes of areas, tokens and batch are symbols."""
    from tests.nets.random_blocks_steps import FAMILIES, Bytes

    name = family or [*FAMILIES][seed % len(FAMILIES)]
    m = (Bytes if name == "bytes" else Blocks)(seed, FAMILIES[name])
    m.steps.append(f"{name} opset {m.net.opset} {m.net.sizes}{' open' * m.open}")
    x = m.start()
    for _ in range(m.pick(2, 3, 3, 4)):
        m.pool.append(x)
        x = m.taken(x, m.family.blocks)
    outputs = m.ends(x)
    known = {
        d.dim_param for info in m.net.inputs for d in info.type.tensor_type.shape.dim if d.dim_param
    }
    step = 1 << m.lowest
    sizes = tuple(
        {s: m.pick(*TIMES[s]) * (step if s in "HWT" else 1) for s in sorted(known)}
        for _ in range(3)
    )
    area = (2, 3, *AREA) if m.family.image else (2, TOKENS, 5)
    return LengthsNet(m.net.done(*outputs), tuple(m.steps), {"x": area}, sizes, seed, {})
