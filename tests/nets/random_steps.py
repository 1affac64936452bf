"""Steps of random nets: each takes a feature and gives new ones, or None if it does not suit."""

from __future__ import annotations

from math import prod

import numpy as np

from tests.nets import random_flow as f
from tests.nets import random_tokens as t
from tests.nets.random_net import WIDEST, WIDTHS, Feature, Mixture

Made = Feature | list[Feature] | None


# --- of both kinds ------------------------------------------------------------------------------


def axis_of(x: Feature) -> int:
    return 1 if x.image else 2


def layer(m: Mixture, x: Feature) -> Made:
    return m.mapped(x, m.pick(*WIDTHS), m.pick(1, 3))


def activation(m: Mixture, x: Feature) -> Made:
    op = m.pick("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Erf", "Softplus", "Neg", "HardSigmoid")
    return Feature(m.net.node(op, x.name), x.size, x.area)


def add(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.Add(x.name, m.matched(x).name), x.size, x.area)


def multiply(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.Mul(m.net.Tanh(x.name), m.matched(x).name), x.size, x.area)


def residual(m: Mixture, x: Feature) -> Made:
    inner = m.mapped(x, m.pick(*WIDTHS), m.pick(1, 3))
    inner = Feature(m.net.Relu(inner.name), inner.size, inner.area)
    return Feature(m.net.Add(x.name, m.mapped(inner, x.size).name), x.size, x.area)


def again(m: Mixture, x: Feature) -> Made:
    """One layer applied several times, at times with a bias of its own each time."""
    shape = (x.size, x.size, 3, 3) if x.image else (x.size, x.size)
    weight, y = m.net.weight(*shape), x.name
    bias = m.net.weight(x.size) if m.chance(0.5) else None
    for _ in range(m.pick(2, 2, 3)):
        own = bias or m.net.weight(x.size)
        if x.image:
            y = m.net.Relu(m.net.Conv(y, weight, own, pads=[1] * 4))
        else:
            y = m.net.Tanh(m.net.Add(m.net.MatMul(y, weight), own))
    return Feature(y, x.size, x.area)


def concat(m: Mixture, x: Feature) -> Made:
    others = [m.recent(x) for _ in range(m.pick(1, 1, 2))]
    size = x.size + sum(o.size for o in others)
    if size > WIDEST:
        return None
    names = [x.name, *(o.name for o in others)]
    return Feature(m.net.Concat(*names, axis=axis_of(x)), size, x.area)


def split(m: Mixture, x: Feature) -> Made:
    count = m.pick(2, 2, 3)
    if x.size < 2 * count:
        return None
    sizes = [x.size // count] * count
    if m.chance(0.3):
        sizes[0] += 1
    sizes[-1] = x.size - sum(sizes[:-1])
    parts = m.net.split(x.name, sizes, axis_of(x))
    return [Feature(p, s, x.area) for p, s in zip(parts, sizes, strict=True)]


def gated(m: Mixture, x: Feature) -> Made:
    if x.size % 2:
        return None
    a, b = m.net.split(x.name, [x.size // 2] * 2, axis_of(x))
    return Feature(m.net.Mul(a, m.net.Sigmoid(b)), x.size // 2, x.area)


def sliced(m: Mixture, x: Feature) -> Made:
    if x.size < 4:
        return None
    step = m.pick(1, 1, 1, 2, -1) if m.net.opset >= 10 else 1
    start = int(m.random.integers(0, x.size - 2))
    end = int(m.random.integers(start + 2, x.size + 1))
    size = len(range(start, end, abs(step)))
    if step < 0:
        start, end = end - 1, start - 1 - (x.size if start == 0 else 0)
    elif end == x.size and m.chance(0.5):
        end = 1 << 31
    elif m.chance(0.3):
        start = start - x.size
    return Feature(m.net.slice(x.name, start, end, axis_of(x), step), size, x.area)


def picked(m: Mixture, x: Feature) -> Made:
    index = m.random.permutation(x.size)[: max(2, x.size // 2)]
    return Feature(m.net.Gather(x.name, m.net.ints(*index), axis=axis_of(x)), len(index), x.area)


def tiled(m: Mixture, x: Feature) -> Made:
    if x.size > WIDEST // 2:
        return None
    repeats = [1, 2, 1, 1] if x.image else [1, 1, 2]
    return Feature(m.net.Tile(x.name, m.net.ints(*repeats)), 2 * x.size, x.area)


def scaled(m: Mixture, x: Feature) -> Made:
    y = m.net.affine(x.name, x.size, axis_of(x), 2 + len(x.area))
    return Feature(y, x.size, x.area)


def where(m: Mixture, x: Feature) -> Made:
    y = m.matched(x)
    return Feature(m.net.Where(m.net.Less(x.name, y.name), x.name, y.name), x.size, x.area)


def dense(m: Mixture, x: Feature) -> Made:
    """Through a vector of all that is there, and back by broadcasting."""
    if 0 in x.area:
        return None
    net, length, size = m.net, x.size * prod(x.area), m.pick(4, 6)
    y = net.Flatten(x.name)
    y = net.Tanh(net.Gemm(y, net.weight(length, size, scale=length**-0.5), net.weight(size)))
    y = net.Gemm(y, net.weight(x.size, size), net.weight(x.size), transB=1)
    y = net.reshape(y, x.size, 1, 1) if x.image else net.unsqueeze(y, 1)
    return Feature(net.Add(x.name, y), x.size, x.area)


def summed(m: Mixture, x: Feature) -> Made:
    """One number per place from all channels, which scales them."""
    y = m.net.reduce(m.pick("ReduceSum", "ReduceL2", "ReduceSumSquare"), x.name, axis_of(x))
    return Feature(m.net.Mul(x.name, m.net.Sigmoid(y)), x.size, x.area)


def twice(m: Mixture, x: Feature) -> Made:
    """One weight, used on a feature and on what it made of it, or on two features."""
    net = m.net
    shape = (x.size, x.size, 1, 1) if x.image else (x.size, x.size)
    weight = net.weight(*shape, scale=x.size**-0.5)
    op = "Conv" if x.image else "MatMul"
    first = net.Relu(net.node(op, x.name, weight))
    if m.chance(0.5):
        y = net.node(op, first, weight)
    else:
        y = net.Add(first, net.node(op, m.matched(x).name, weight))
    return Feature(y, x.size, x.area)


def chunked(m: Mixture, x: Feature) -> Made:
    """Halves whose bounds are computed from the shape."""
    if x.size % 2 or m.net.opset < 10:
        return None
    net, axis = m.net, axis_of(x)
    size = net.Gather(net.Shape(x.name), net.const(np.int64(axis)))
    half = net.unsqueeze(net.Div(size, net.const(np.int64(2))), 0)
    whole = net.Mul(half, net.ints(2))
    a = net.Slice(x.name, net.ints(0), half, net.ints(axis))
    b = net.Slice(x.name, half, whole, net.ints(axis))
    return Feature(net.Mul(a, net.Sigmoid(b)), x.size // 2, x.area)


def interleaved(m: Mixture, x: Feature) -> Made:
    """The channels of two features take turns."""
    if x.size > WIDEST // 2:
        return None
    net, axis = m.net, axis_of(x) + 1
    parts = (net.unsqueeze(f.name, axis) for f in (x, m.matched(x)))
    y = net.Concat(*parts, axis=axis)
    sizes = (2 * x.size, *x.area) if x.image else (*x.area, 2 * x.size)
    return Feature(net.reshape(y, *sizes), 2 * x.size, x.area)


def stored_in_bytes(m: Mixture, shape: tuple[int, ...], axis: int) -> str:
    """Weights in 8 bits, scaled as a whole or per channel made."""
    net = m.net
    whole = net.const(m.random.integers(-60, 61, shape).astype(np.int8))
    size = 0.02 * (prod(shape) / shape[axis]) ** -0.5
    if net.opset < 13 or m.chance(0.3):
        zero = [net.const(np.int8(m.pick(0, 3)))] if m.chance(0.7) else []
        return net.DequantizeLinear(whole, net.scalar(size), *zero)
    scale = net.const(((m.random.random(shape[axis]) + 0.5) * size).astype(np.float32))
    zeros = [net.const(np.zeros(shape[axis], np.int8))] if m.chance(0.7) else []
    return net.DequantizeLinear(whole, scale, *zeros, axis=axis)


def quantized(m: Mixture, x: Feature) -> Made:
    """A layer with weights in bytes, and bytes in front of it, behind it, or nowhere."""
    net, size = m.net, m.pick(*WIDTHS)
    if net.opset < 10:
        return None

    def through(name: str) -> str:
        step = net.scalar(1 / 64), net.const(np.uint8(128))
        return net.DequantizeLinear(net.QuantizeLinear(name, *step), *step)

    y = through(x.name) if m.chance(0.5) else x.name
    if x.image:
        y = net.Conv(y, stored_in_bytes(m, (size, x.size, 3, 3), 0), pads=[1] * 4)
    else:
        y = net.MatMul(y, stored_in_bytes(m, (x.size, size), 1))
    y = net.Relu(y)
    return Feature(through(y) if m.chance(0.5) else y, size, x.area)


# --- images -------------------------------------------------------------------------------------


def batch_norm(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.batch_norm(x.name, x.size), x.size, x.area)


def grouped(m: Mixture, x: Feature) -> Made:
    group = m.divisor(x.size)
    size = group * m.pick(1, 2, 3, 4)
    op = m.pick("Conv", "Conv", "Conv", "ConvTranspose")
    return Feature(m.net.conv(x.name, x.size, size, m.pick(1, 3), group=group, op=op), size, x.area)


def depthwise(m: Mixture, x: Feature) -> Made:
    size = x.size * (m.pick(1, 1, 2) if x.size <= WIDEST // 2 else 1)
    op = m.pick("Conv", "Conv", "Conv", "ConvTranspose")
    return Feature(m.net.conv(x.name, x.size, size, group=x.size, op=op), size, x.area)


def shuffle(m: Mixture, x: Feature) -> Made:
    group = m.divisor(x.size)
    y = m.net.reshape(x.name, group, x.size // group, *x.area)
    y = m.net.Transpose(y, perm=[0, 2, 1, 3, 4])
    return Feature(m.net.reshape(y, x.size, *x.area), x.size, x.area)


def squeeze_excite(m: Mixture, x: Feature) -> Made:
    net, size = m.net, m.pick(3, 4)
    y = net.Relu(net.conv(net.GlobalAveragePool(x.name), x.size, size, 1))
    return Feature(net.Mul(x.name, net.Sigmoid(net.conv(y, size, x.size, 1))), x.size, x.area)


def pool(m: Mixture, x: Feature) -> Made:
    op = m.pick("MaxPool", "AveragePool")
    y = m.net.node(op, x.name, kernel_shape=[3, 3], pads=[1] * 4)
    return Feature(y, x.size, x.area)


def resize(m: Mixture, x: Feature) -> Made:
    y = m.net.resize(x.name, 2)
    y = m.net.node(m.pick("MaxPool", "LpPool"), y, kernel_shape=[2, 2], strides=[2, 2])
    return Feature(y, x.size, x.area)


def prelu(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.PRelu(x.name, m.net.weight(x.size, 1, 1, scale=0.3)), x.size, x.area)


def padded(m: Mixture, x: Feature) -> Made:
    before, after = m.pick((0, 3), (2, 2), (1, 0))
    if x.size > WIDEST // 2:
        return None
    y = m.net.pad(x.name, 0, before, 0, 0, 0, after, 0, 0)
    return Feature(y, x.size + before + after, x.area)


def pixel_shuffle(m: Mixture, x: Feature) -> Made:
    if x.size % 4 or m.net.opset < 11:
        return None
    y = m.net.DepthToSpace(x.name, blocksize=2, mode=m.pick("DCR", "CRD"))
    y = m.net.Relu(m.net.conv(y, x.size // 4, 4))
    return Feature(m.net.SpaceToDepth(y, blocksize=2), 16, x.area)


def channels_last(m: Mixture, x: Feature) -> Made:
    size = m.pick(*WIDTHS)
    y = m.net.linear(m.net.Transpose(x.name, perm=[0, 2, 3, 1]), x.size, size)
    return Feature(m.net.Transpose(y, perm=[0, 3, 1, 2]), size, x.area)


def group_norm(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.group_norm(x.name, x.size, m.divisor(x.size), x.area), x.size, x.area)


def to_tokens(m: Mixture, x: Feature) -> Made:
    return Feature(m.net.tokens(x.name, x.size, prod(x.area)), x.size, (prod(x.area),))


BOTH = [
    layer, layer, activation, activation, add, multiply, residual, concat, concat, split, gated,
    sliced, picked, tiled, scaled, where, dense, summed, twice, chunked, interleaved,
    quantized, f.branches, f.looped, again,
]  # fmt: skip
IMAGE = [
    batch_norm, grouped, grouped, depthwise, depthwise, shuffle, squeeze_excite, pool, resize,
    prelu, padded, pixel_shuffle, channels_last, group_norm,
]  # fmt: skip
TOKEN = [
    t.norm, t.position, t.class_token, t.pooled_tokens, t.feed_forward, t.mixer, t.convolution_1d,
    t.attention, t.attention, t.attention, t.attention_across, t.attention_linear,
    t.attention_of_channels, t.windows, t.recurrent, t.recurrent, f.scanned, f.weights_as_states,
]  # fmt: skip


def _only(kind: bool, step):
    """A step for features of one kind."""

    def guarded(m: Mixture, x: Feature) -> Made:
        return step(m, x) if x.image is kind else None

    guarded.__name__ = step.__name__
    return guarded


IMAGES = BOTH + IMAGE
TOKENS = BOTH + TOKEN
SYMBOLIC = TOKENS
MIXED = (
    BOTH
    + [_only(True, step) for step in IMAGE + [to_tokens] * 3]
    + [_only(False, step) for step in TOKEN + [t.to_image] * 6]
)
