"""Nets with runs that may become the identity, and with sums that are part of another operator."""

from __future__ import annotations

import numpy as np

from tests.nets.deep import WIDTH, attention, basic, feed_forward, stem
from tests.nets.fused import FUSED
from tests.nets.integer import point, q_conv
from tests.nets.net import Net
from tests.nets.recurrent import recurrent


def plain(n: Net) -> str:
    """A VGG: convolutions one after the other, of which the third halves the picture."""
    y = stem(n)
    for make, stride in ((WIDTH, 1), (WIDTH, 2), (12, 1), (12, 1)):
        read = WIDTH if make == WIDTH or stride > 1 or y.startswith("Max") else 12
        y = n.Relu(n.batch_norm(n.conv(y, read, make, stride=stride), make))
        y = n.MaxPool(y, kernel_shape=[2, 2], strides=[2, 2]) if stride > 1 else y
    return n.head(y, 12)


def unet(n: Net) -> str:
    """Two levels, each joined to what comes from below it."""
    top = stem(n)
    low = n.Relu(n.conv(top, WIDTH, 12, stride=2))
    deep = n.Relu(n.conv(low, 12, 16, stride=2))
    deep = n.Relu(n.conv(n.Relu(n.conv(deep, 16, 16)), 16, 12))
    low = n.Relu(n.conv(n.Concat(n.resize(deep, 2), low, axis=1), 24, 12))
    top = n.Relu(n.conv(n.Concat(n.resize(low, 2), top, axis=1), 20, WIDTH))
    return n.conv(top, WIDTH, 2, 1)


def stack(n: Net) -> str:
    """Recurrent layers of one size, the last one in both directions."""
    y = n.Transpose(n.linear(n.input("x", "L", 5), 5, 6), perm=[1, 0, 2])
    for op, ways in (("LSTM", 1), ("GRU", 1), ("LSTM", 2)):
        y = recurrent(n, op, y, 6, 6 // ways, ways)
    return n.linear(n.Transpose(y, perm=[1, 0, 2]), 6, 3)


def gated(n: Net) -> str:
    """Squeeze and excitation, and a layer without a sum around it."""
    y = stem(n)
    pooled = n.Relu(n.conv(n.GlobalAveragePool(y), WIDTH, 4, 1))
    y = n.Mul(y, n.Sigmoid(n.conv(pooled, 4, WIDTH, 1)))
    return n.head(n.Relu(n.conv(y, WIDTH, WIDTH)), WIDTH)


LENGTH = 6


def of_one_length(n: Net) -> str:
    """A layer that makes `LENGTH` tokens of any number, and so as many as there are only then."""
    y = n.linear(n.input("x", "L", 5), 5, WIDTH)
    y = n.Transpose(n.Relu(y), perm=[0, 2, 1])
    y = n.conv(y, WIDTH, WIDTH, dims=1)
    sizes = n.ints(int(n.batch), WIDTH, LENGTH)
    y = n.Resize(n.Relu(y), "", "", sizes, mode="nearest")
    return n.linear(n.Transpose(n.Relu(y), perm=[0, 2, 1]), WIDTH, 3)


def _skip(n: Net, x: str, y: str, outs: int = 1, plain: bool = False, bias: bool = True) -> list:
    op = "SkipSimplifiedLayerNormalization" if plain else "SkipLayerNormalization"
    more = [n.positive(WIDTH), *([] if plain else [n.weight(WIDTH, scale=0.1)])]
    more += [n.weight(WIDTH, scale=0.3)] if bias else []
    made = n.node(op, x, y, *more, domain=FUSED, outs=outs)
    if outs == 1:
        return [made]
    n.nodes[-1].output[1:3] = ["", ""]
    return [made[0], made[3]]


def skipped(n: Net, plain: bool = False, bias: bool = True) -> str:
    """A block of a BERT as onnxruntime's optimizer leaves it."""
    x = n.layer_norm(n.linear(n.input("x", "L", 5), 5, WIDTH), WIDTH)
    x = _skip(n, attention(n, x), x, plain=plain, bias=bias)[0]
    x = _skip(n, x, feed_forward(n, x), plain=plain, bias=bias)[0]
    return n.linear(x, WIDTH, 3)


def skipped_first(n: Net, plain: bool = False) -> str:
    """Blocks of a GPT or a Llama, in which the sum goes on beside its norm."""
    total = n.linear(n.input("x", "L", 5), 5, WIDTH)
    normed = n.layer_norm(total, WIDTH)
    for _ in range(2):
        normed, total = _skip(n, total, attention(n, normed), outs=4, plain=plain)
        normed, total = _skip(n, total, feed_forward(n, normed), outs=4, plain=plain)
    return n.linear(n.Add(normed, total), WIDTH, 3)


def of_bytes(n: Net, scale: float = 0.1, make: int = 8) -> str:
    """A block of a quantised net, of which the sum has a scale of its own; wider, it projects."""
    first, more = ((n.const(np.float32(s)), point(n, z)) for s, z in ((0.05, 20), (0.1, 30)))
    last = n.const(np.float32(scale)), point(n, 30)
    y = q_conv(n, n.QuantizeLinear(n.input("x", 3, 6, 6), *first), first, 3, 8)
    inner = q_conv(n, q_conv(n, y, more, 8, 6), more, 6, make)
    y = q_conv(n, y, more, 8, make) if make != 8 else y
    y = n.QLinearAdd(y, *more, inner, *more, *last, domain=FUSED)
    y = n.GlobalAveragePool(n.DequantizeLinear(y, *last))
    return n.linear(n.Flatten(y), make, 5)


def mixed(n: Net) -> str:
    """A run within a branch, and one around it."""
    y = n.Relu(n.conv(stem(n), WIDTH, WIDTH))
    return n.head(n.Relu(n.conv(n.Relu(basic(n, y)), WIDTH, WIDTH)), WIDTH)
