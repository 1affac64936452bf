"""Random mixtures in which sizes are symbols: `random_lengths_net(seed)` is the same forever.

Tokens `[N, T, C]` behind caches `[N, heads, P, D]`, with tables that positions look up, masks and
selectors; or images `[N, C, H, W]` of any height and width.  Nothing in them takes statistics over
channels.  What is fed at which sizes belongs to a net as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.nets.net import BATCH, Net
from tests.nets.random_net import Feature, Mixture

OPSETS = (14, 17, 18, 21)
WIDTHS = (4, 6, 8, 12)
TOKENS, PAST, HEIGHT, WIDTH = "T", "P", "H", "W"
ROWS = (25, 31, 128)
"""Rows of tables, one number for a net: as many as any sizes below need, odd ones, and plenty."""

LONG = 70
"""A cache that only plenty of rows are enough for."""

RANGES: Mapping[str, tuple[int, ...]] = {
    BATCH: (1, 2, 3, 5),
    TOKENS: (1, 2, 3, 5, 7, 11),
    PAST: (0, 1, 2, 4, 9, 13, LONG),
    HEIGHT: (2, 3, 5, 6, 7, 9),
    WIDTH: (2, 3, 4, 6, 8, 11),
}
"""Sizes that are tried; the analysis itself is left to choose those of tokens and caches."""

AREA = (6, 4)
"""Height and width at which images are analysed."""

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class LengthsNet:
    """The model, the steps it is made of, what it is analysed at, and the sizes to look at.

    Inputs in `below` are whole numbers from 0 up to, without, the one given there.
    """

    model: ModelProto
    steps: tuple[str, ...]
    analysed: Mapping[str, tuple[int, ...]] | None
    sizes: tuple[Sizes, ...]
    seed: int
    below: Mapping[str, int]

    def feeds(self, sizes: Sizes) -> dict[str, np.ndarray]:
        """Values for inputs of these sizes; one with a default is given in half of the cases."""
        random = np.random.default_rng([self.seed, *sizes.values()])
        stored = {tensor.name for tensor in self.model.graph.initializer}
        made = {}
        for info in self.model.graph.input:
            dims = info.type.tensor_type.shape.dim
            shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in dims]
            if info.name in self.below:
                values = random.integers(0, self.below[info.name], shape)
            else:
                values = random.standard_normal(shape).astype(np.float32)
            if info.name not in stored or random.random() < 0.5:
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
        self.rows = self.pick(*ROWS)
        self.below: dict[str, int] = {}
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

    def default_number(self, value: int, most: int) -> str:
        """An input of one whole number, from 0 to `most`, that has a value where none is given."""
        name = self.net.ints(value)
        self.net.inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, [1]))
        self.below[name] = most + 1
        return name

    def given(self, stem: str, *shape: int | str, below: int = 0) -> str:
        """One more input: of whole numbers below some number, or of floats."""
        name = self.net.name(stem)
        if below:
            self.below[name] = below
        return self.net.input(name, *shape, dtype=np.int64 if below else np.float32)

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


def sizes_of(symbol: str, mix: Lengths) -> tuple[int, ...]:
    """The sizes of a symbol that suit a net."""
    sizes = RANGES[symbol]
    if symbol == PAST and mix.net.sizes == "minus":
        sizes = sizes[1:]  # an axis of size 0 cannot be reshaped next to one of -1
    if symbol == PAST and mix.rows < LONG + max(RANGES[TOKENS]):
        sizes = sizes[:-1]
    return sizes


def random_lengths_net(seed: int) -> LengthsNet:
    """The net of a seed."""
    from tests.nets import random_lengths_steps as known

    mix = Lengths(seed)
    images = mix.chance(0.3)
    kind = "areas" if images else "tokens"
    mix.steps.append(f"{kind} opset {mix.net.opset} {mix.net.sizes}")
    if images:
        x = Feature(mix.net.input("x", 3, HEIGHT, WIDTH), 3, (0, 0))
    else:
        x = Feature(mix.net.input("x", TOKENS, 5), 5, (0,))
    mix.pool = [mix.mapped(x, mix.pick(*WIDTHS))]
    mix.grow(known.IMAGES if images else known.TOKENS, int(mix.random.integers(3, 8)))
    outputs = mix.ends()
    symbols = {
        d.dim_param
        for info in mix.net.inputs
        for d in info.type.tensor_type.shape.dim
        if d.dim_param
    }
    sizes = tuple({s: mix.pick(*sizes_of(s, mix)) for s in sorted(symbols)} for _ in range(3))
    analysed = {"x": (2, 3, *AREA)} if images else None
    model, steps = mix.net.done(*outputs), tuple(mix.steps)
    return LengthsNet(model, steps, analysed, sizes, seed, mix.below)
