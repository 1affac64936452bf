"""Random mixtures in which sizes are symbols: `random_lengths_net(seed)` is the same forever.

Tokens `[N, T, C]` behind caches `[N, heads, P, D]`, with tables that positions look up, masks and
selectors; or images `[N, C, H, W]` of any height and width.  Nothing in them takes statistics over
channels.  What is fed at which sizes belongs to a net as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from onnx import ModelProto, helper

from tests.nets.net import BATCH, Net
from tests.nets.random_net import Feature, Mixture

OPSETS = (14, 17, 18, 21)
WIDTHS = (4, 6, 8, 12)
TOKENS, PAST, HEIGHT, WIDTH = "T", "P", "H", "W"
ROWS = 128
"""Rows of a table: as many as the analysis takes for an input behind a cache, and more."""

RANGES: Mapping[str, tuple[int, ...]] = {
    BATCH: (1, 2, 3, 5),
    TOKENS: (1, 2, 3, 5, 7, 11),
    PAST: (0, 1, 2, 4, 9, 13),
    HEIGHT: (2, 3, 5, 6, 7, 9),
    WIDTH: (2, 3, 4, 6, 8, 11),
}
"""Sizes that are tried; the analysis itself is left to choose those of tokens and caches."""

AREA = (6, 4)
"""Height and width at which images are analysed."""

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class LengthsNet:
    """The model, the steps it is made of, what it is analysed at, and the sizes to look at."""

    model: ModelProto
    steps: tuple[str, ...]
    analysed: Mapping[str, tuple[int, ...]] | None
    sizes: tuple[Sizes, ...]
    seed: int

    def feeds(self, sizes: Sizes, inputs: Collection[str]) -> dict[str, np.ndarray]:
        """Values for inputs of these sizes; one with a default is given in half of the cases."""
        random = np.random.default_rng([self.seed, *sizes.values()])
        stored = {tensor.name for tensor in self.model.graph.initializer}
        made = {}
        for info in self.model.graph.input:
            dims = info.type.tensor_type.shape.dim
            shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in dims]
            values = random.standard_normal(shape).astype(np.float32)
            if info.name in inputs and (info.name not in stored or random.random() < 0.5):
                made[info.name] = values
        return made


class Lengths(Mixture):
    """A net that grows; knows how long its tokens and its cache are, and what else it hands out."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        sizes = self.pick("zero", "minus", "computed")
        self.net = Net(self.pick(*OPSETS), BATCH, sizes=sizes, norms=False, seed=seed + 1)
        self.pool: list[Feature] = []
        self.steps: list[str] = []
        self.presents: list[str] = []
        self._caches = 0
        self._memory = ""

    @cached_property
    def tokens(self) -> str:
        """How many tokens there are, as a vector of one number."""
        return self.size_of("x", 1)

    @cached_property
    def past(self) -> str:
        """How many tokens the caches hold."""
        return self.size_of(self.memory, 1)

    @property
    def memory(self) -> str:
        """Tokens of the past, an input `[N, P, 6]`."""
        if not self._memory:
            self._memory = self.net.input("memory", PAST, 6)
        return self._memory

    def size_of(self, name: str, axis: int) -> str:
        """One size, as a vector of one number, in one of the ways exporters read it."""
        net = self.net
        if net.opset >= 15 and self.chance(0.3):
            return net.Shape(name, start=axis, end=axis + 1)
        if self.chance(0.5):
            return net.Gather(net.Shape(name), net.ints(axis))
        return net.unsqueeze(net.Gather(net.Shape(name), net.const(np.int64(axis))), 0)

    def cache(self, heads: int, width: int) -> str:
        """One more input with keys or values of the past."""
        self._caches += 1
        return self.net.input(f"past_{self._caches}", heads, PAST, width)

    def default(self, *shape: int) -> str:
        """An input that has a value of its own where none is given."""
        name = self.net.weight(*shape, scale=0.3, shift=1.0)
        self.net.inputs.append(helper.make_tensor_value_info(name, 1, shape))
        return name

    def flat(self, x: str, *sizes: int | str) -> str:
        """A reshape to sizes of which some are computed: names of vectors of one number."""
        given = [s if isinstance(s, str) else self.net.ints(s) for s in sizes]
        return self.net.Reshape(x, self.net.Concat(*given, axis=0))

    def ends(self) -> list[str]:
        """Outputs: what was handed out on the way, and a head or two."""
        net, outputs = self.net, []
        for x in self.pool[-1:-3:-1]:
            if x.image and self.chance(0.5):
                outputs.append(net.head(x.name, x.size))
            else:
                outputs.append(self.mapped(x, 3).name)
        return outputs + self.presents


def empty_ones(symbol: str, mix: Lengths) -> int:
    """How many of a symbol's sizes go: an axis of size 0 cannot be reshaped next to one of -1."""
    return int(symbol == PAST and mix.net.sizes == "minus")


def random_lengths_net(seed: int) -> LengthsNet:
    """The net of a seed."""
    from tests.nets import random_areas as areas
    from tests.nets import random_positions as positions

    mix = Lengths(seed)
    images = mix.chance(0.3)
    kind = "areas" if images else "tokens"
    mix.steps.append(f"{kind} opset {mix.net.opset} {mix.net.sizes}")
    if images:
        x, steps = Feature(mix.net.input("x", 3, HEIGHT, WIDTH), 3, (0, 0)), areas.STEPS
    else:
        x, steps = Feature(mix.net.input("x", TOKENS, 5), 5, (0,)), positions.STEPS
    mix.pool = [mix.mapped(x, mix.pick(*WIDTHS))]
    mix.grow(steps, int(mix.random.integers(3, 8)))
    outputs = mix.ends()
    symbols = {
        d.dim_param
        for info in mix.net.inputs
        for d in info.type.tensor_type.shape.dim
        if d.dim_param
    }
    sizes = tuple(
        {s: mix.pick(*RANGES[s][empty_ones(s, mix) :]) for s in sorted(symbols)} for _ in range(3)
    )
    analysed = {"x": (2, 3, *AREA)} if images else None
    return LengthsNet(mix.net.done(*outputs), tuple(mix.steps), analysed, sizes, seed)
