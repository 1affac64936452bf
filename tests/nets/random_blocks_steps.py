"""Layers, blocks and families of random nets of blocks."""

from __future__ import annotations

import numpy as np

from tests.nets import random_steps as plain
from tests.nets import random_tokens as tokens
from tests.nets.integer import MICROSOFT, point, q_conv
from tests.nets.random_blocks import HALVED, Blocks, Family
from tests.nets.random_net import WIDEST, WIDTHS, Feature
from tests.nets.recurrent import recurrent

Made = Feature | list[Feature] | None


# --- blocks: ways past a few layers -------------------------------------------------------------


def summed(m: Blocks, x: Feature) -> Made:
    """A residual block, of the width of its stream."""
    y = m.inner(x)
    return m.total(x, y if y.size == x.size and m.chance(0.5) else m.mapped(y, x.size))


def projected(m: Blocks, x: Feature) -> Made:
    """A residual block that changes the width, so that a layer is its shortcut."""
    y = m.inner(x)
    shortcut = m.mapped(x, y.size)
    if x.image and m.chance(0.5):
        shortcut = m.normalised(shortcut)
    return m.total(shortcut, y)


def stacked(m: Blocks, x: Feature) -> Made:
    """What went in and what came out, one behind the other, at times made as narrow as before."""
    y = m.inner(x)
    if x.size + y.size > WIDEST:
        return m.mapped(y, x.size)
    z = m.stacked(x, y)
    return m.mapped(z, x.size) if m.chance(0.7) else z


def level(m: Blocks, x: Feature) -> Made:
    """Down, through blocks, and up again, where it is added or stacked."""
    if m.halved >= HALVED:
        return None
    with m.below():
        y = m.up(m.inner(m.down(x)))
    if m.chance(0.4):
        return m.total(x, m.mapped(y, x.size))
    return m.mapped(m.stacked(x, y), m.pick(x.size, *WIDTHS))


def scaled(m: Blocks, x: Feature) -> Made:
    """A gate of few channels, or a residual block with a factor per channel."""
    y = m.mapped(m.inner(x), x.size)
    if m.chance(0.5):
        return Feature(m.net.Mul(x.name, m.net.Sigmoid(y.name)), x.size, x.area)
    factor = m.net.weight(x.size, *[1] * len(x.area)) if x.image else m.net.weight(x.size)
    return m.total(x, Feature(m.net.Mul(y.name, factor), x.size, x.area))


# --- layers -------------------------------------------------------------------------------------


def norm(m: Blocks, x: Feature) -> Made:
    """Over channels; a row of zeros stays one."""
    net = m.net
    if m.chance(0.6):
        return Feature(net.layer_norm(x.name, x.size, native=m.chance(0.5)), x.size, x.area)
    power = net.reduce("ReduceMean", net.Mul(x.name, x.name), -1)
    y = net.Div(x.name, net.Sqrt(net.Add(power, net.scalar(1e-3))))
    return Feature(net.Mul(y, net.positive(x.size)), x.size, x.area)


def conditioned(m: Blocks, x: Feature) -> Made:
    """The embedding, as wide as the stream, is added everywhere."""
    given = m.embedding
    y = m.net.unsqueeze(m.net.linear(given.name, given.size, x.size), 2 if x.image else 1)
    return Feature(m.net.Add(x.name, m.net.unsqueeze(y, 3) if x.image else y), x.size, x.area)


def across(m: Blocks, x: Feature) -> Made:
    """Attention to the memory."""
    net, seen = m.net, m.memory
    heads, width = m.pick((2, 4), (2, 3), (1, 6))
    size = heads * width
    q = net.heads(net.linear(x.name, x.size, size), *x.area, heads, width)
    k, v = (net.linear(seen.name, seen.size, size) for _ in range(2))
    k = net.heads(k, *seen.area, heads, width, key=True)
    mixed = net.attend(q, k, net.heads(v, *seen.area, heads, width))
    return Feature(net.merge(mixed, *x.area, size), size, x.area)


def attended(m: Blocks, x: Feature) -> Made:
    """A whole block of attention to the memory."""
    made = across(m, Feature(m.normed.get(x.name, x.name), x.size, x.area))
    return m.total(x, m.mapped(made, x.size))


def stack(m: Blocks, x: Feature) -> Made:
    """Recurrent layers of one size, with sums between them or none."""
    net, y = m.net, m.net.Transpose(x.name, perm=[1, 0, 2])
    residual = m.chance(0.3)
    for _ in range(m.pick(2, 2, 3)):
        ways = 2 if x.size % 2 == 0 and m.chance(0.3) else 1
        z = recurrent(net, m.pick("LSTM", "GRU", "RNN"), y, x.size, x.size // ways, ways)
        y = net.Add(y, z) if residual else z
    return Feature(net.Transpose(y, perm=[1, 0, 2]), x.size, x.area)


def started(m: Blocks, x: Feature) -> Made:
    """A recurrent layer that begins where another one, over the memory, has ended."""
    net, seen, size = m.net, m.memory, m.pick(4, 6)
    past = net.Transpose(seen.name, perm=[1, 0, 2])
    weights = [[net.weight(1, 3 * size, n, scale=n**-0.5) for n in (read, size)]
               for read in (seen.size, x.size)]  # fmt: skip
    _, last = net.GRU(past, *weights[0], hidden_size=size, outs=2)
    now = net.Transpose(x.name, perm=[1, 0, 2])
    y = net.GRU(now, *weights[1], "", "", last, hidden_size=size)
    return Feature(net.Transpose(net.squeeze(y, 1), perm=[1, 0, 2]), size, x.area)


# --- bytes --------------------------------------------------------------------------------------


class Bytes(Blocks):
    """A stream of bytes, each tensor with a scale and a zero; sums and stacks have their own."""

    def start(self) -> Feature:
        self.usual = self.net.const(np.float32(0.1)), point(self.net, 30)  # of every layer
        self.scales: dict[str, tuple[str, str]] = {}
        x = self.entry()
        first = self.net.QuantizeLinear(x.name, *self.usual)
        return self.mapped(Feature(first, x.size, x.area), self.pick(*WIDTHS))

    def given(self, x: Feature) -> tuple[str, str]:
        """The scale and the zero of a tensor."""
        return self.scales.get(x.name, self.usual)

    def own(self) -> tuple[str, str]:
        """Another scale and another zero, now and then."""
        other = self.net.const(np.float32(self.pick(0.07, 0.15))), point(self.net, self.pick(0, 50))
        return self.pick(self.usual, other)

    def mapped(self, x: Feature, size: int, kernel: int = 3, **attrs) -> Feature:
        return Feature(q_conv(self.net, x.name, self.given(x), x.size, size, **attrs), size, x.area)

    def normalised(self, x: Feature) -> Feature:
        return x

    def total(self, x: Feature, y: Feature) -> Feature:
        pair, out = [x, y][:: self.pick(1, -1)], self.own()
        parts = [name for each in pair for name in (each.name, *self.given(each))]
        return self._of(self.net.QLinearAdd(*parts, *out, domain=MICROSOFT), out, x.size, x)

    def stacked(self, x: Feature, y: Feature) -> Feature:
        out = self.own()
        parts = [name for each in (x, y) for name in (each.name, *self.given(each))]
        name = self.net.QLinearConcat(*out, *parts, axis=1, domain=MICROSOFT)
        return self._of(name, out, x.size + y.size, x)

    def _of(self, name: str, out: tuple[str, str], size: int, like: Feature) -> Feature:
        self.scales[name] = out
        return Feature(name, size, like.area)

    def down(self, x: Feature) -> Feature:
        area = tuple(a // 2 for a in x.area)
        y = self.net.MaxPool(x.name, kernel_shape=[2, 2], strides=[2, 2])
        return Feature(self._of(y, self.given(x), x.size, x).name, x.size, area)

    def up(self, x: Feature) -> Feature:
        area = tuple(2 * a for a in x.area)
        y = self.net.resize(x.name, 2)
        return Feature(self._of(y, self.given(x), x.size, x).name, x.size, area)

    def _end(self, x: Feature) -> str:
        y = self.net.DequantizeLinear(x.name, *self.given(x))
        return self.net.head(y, x.size)


def of_bytes(m: Bytes, x: Feature) -> Made:
    return m.mapped(x, m.pick(*WIDTHS))


def by_channel(m: Bytes, x: Feature) -> Made:
    return m.mapped(x, x.size, group=x.size)


def pooled(m: Bytes, x: Feature) -> Made:
    y = m.net.MaxPool(x.name, kernel_shape=[3, 3], pads=[1] * 4)
    return m._of(y, m.given(x), x.size, x)


def leaky(m: Bytes, x: Feature) -> Made:
    out = m.own()
    y = m.net.QLinearLeakyRelu(x.name, *m.given(x), *out, domain=MICROSOFT, alpha=0.1)
    return m._of(y, out, x.size, x)


# --- families -----------------------------------------------------------------------------------

IMAGES = [
    plain.layer, plain.layer, plain.layer, plain.activation, plain.batch_norm, plain.grouped,
    plain.depthwise, plain.squeeze_excite, plain.prelu, plain.pool, plain.gated, plain.scaled,
    plain.channels_last, plain.again, plain.add,
]  # fmt: skip
TOKENS = [
    plain.layer, plain.layer, plain.activation, plain.gated, plain.scaled, plain.twice, plain.add,
    norm, norm, tokens.convolution_1d, tokens.attention, tokens.attention_across,
    tokens.recurrent,
]  # fmt: skip
RECURRENT = [tokens.recurrent, tokens.recurrent, stack, stack, plain.activation, norm]

ENCODER = Family(TOKENS, [summed, summed, projected])
FAMILIES = {
    "images": Family(
        [*IMAGES, plain.quantized, conditioned], [summed, summed, projected, stacked, scaled], True
    ),
    "levels": Family([*IMAGES, conditioned, conditioned], [level, level, summed, stacked], True),
    "tokens": Family(
        [*TOKENS, plain.quantized, conditioned], [summed, summed, projected, stacked, level]
    ),
    "norms": Family(TOKENS, [summed], fused=1.0),
    "recurrent": Family(RECURRENT, [summed, stacked, stack, level, projected], fused=0.2),
    "memories": Family(
        [*TOKENS, across, started], [attended, attended, summed, stacked], fused=0.3
    ),
    "bytes": Family([of_bytes, of_bytes, by_channel, pooled, leaky],
                    [summed, summed, projected, stacked, level], True),
}  # fmt: skip
"""By name.  Where sums are part of norms nothing is quantised: rounding otherwise is no fault."""
