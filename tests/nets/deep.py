"""Nets with residual branches: the blocks of well-known families, and some that are no branches."""

from __future__ import annotations

import numpy as np

from tests.nets.net import Net

WIDTH = 8


def stem(n: Net) -> str:
    """A stream of 8 channels."""
    return str(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, WIDTH)))


def basic(n: Net, x: str, read: int = WIDTH, make: int = WIDTH, stride: int = 1) -> str:
    """A block of a ResNet; where the width or the size changes, its shortcut is projected."""
    y = n.batch_norm(n.conv(x, read, 6, stride=stride, bias=False), 6)
    y = n.batch_norm(n.conv(n.Relu(y), 6, make, bias=False), make)
    if read != make or stride > 1:
        x = n.batch_norm(n.conv(x, read, make, 1, stride=stride, bias=False), make)
    return str(n.Add(y, x))


def resnet(n: Net) -> str:
    """Two blocks at one width, one that projects."""
    y = n.Relu(basic(n, stem(n)))
    y = n.Relu(basic(n, y))
    y = n.Relu(basic(n, y, make=12, stride=2))
    return n.head(y, 12)


def inverted(n: Net) -> str:
    """Two inverted residuals of a MobileNet, linear at their ends."""
    y = n.conv(stem(n), WIDTH, 4, 1)
    for _ in range(2):
        inner = n.Relu(n.conv(y, 4, 12, 1))
        inner = n.Relu(n.conv(inner, 12, 12, group=12))
        y = n.Add(y, n.conv(inner, 12, 4, 1))
    return n.head(n.Relu(y), 4)


def attention(n: Net, x: str, size: int = WIDTH, heads: int = 2) -> str:
    """Self-attention of tokens [N, L, C]."""
    parts = [
        n.Transpose(
            n.Reshape(n.linear(x, size, size), n.ints(0, -1, heads, size // heads)),
            perm=[0, 2, 1, 3],
        )
        for _ in range(3)
    ]
    q, k, v = parts
    scores = n.Softmax(n.MatMul(q, n.Transpose(k, perm=[0, 1, 3, 2])), axis=-1)
    mixed = n.Transpose(n.MatMul(scores, v), perm=[0, 2, 1, 3])
    return str(n.linear(n.Reshape(mixed, n.ints(0, -1, size)), size, size))


def feed_forward(n: Net, x: str, size: int = WIDTH) -> str:
    """Two layers with an activation between them."""
    return str(n.linear(n.Relu(n.linear(x, size, 2 * size)), 2 * size, size))


def pre_norm(n: Net) -> str:
    """A block of a GPT: each half behind a norm of its own; any number of tokens."""
    x = n.linear(n.input("x", "L", 5), 5, WIDTH)
    x = n.Add(x, attention(n, n.layer_norm(x, WIDTH)))
    x = n.Add(x, feed_forward(n, n.layer_norm(x, WIDTH)))
    return n.linear(n.layer_norm(x, WIDTH), WIDTH, 3)


def post_norm(n: Net) -> str:
    """A block of a BERT: each sum goes through a norm."""
    x = n.layer_norm(n.linear(n.input("x", "L", 5), 5, WIDTH), WIDTH)
    x = n.layer_norm(n.Add(attention(n, x), x), WIDTH)
    x = n.layer_norm(n.Add(feed_forward(n, x), x), WIDTH)
    return n.linear(x, WIDTH, 3)


def parallel(n: Net) -> str:
    """A block of a GPT-J: both halves read one norm, and are added one after the other."""
    x = n.linear(n.input("x", "L", 5), 5, WIDTH)
    normed = n.layer_norm(x, WIDTH)
    y = n.Add(n.Add(x, attention(n, normed)), feed_forward(n, normed))
    return n.linear(y, WIDTH, 3)


def nested(n: Net) -> str:
    """A branch in a branch, as between the levels of a U-Net."""
    x = stem(n)
    low = n.Relu(n.conv(x, WIDTH, 6, stride=2))
    low = n.Add(low, n.conv(n.Relu(n.conv(low, 6, 4)), 4, 6))
    scales = n.const(np.array([1, 1, 2, 2], np.float32))
    high = n.Resize(low, "", scales, mode="nearest") if n.opset > 10 else low
    return n.head(n.Add(x, n.conv(high, 6, WIDTH)), WIDTH)


def convolved_features(n: Net) -> list[str]:
    """What the first layer of the branch makes is read elsewhere."""
    x = stem(n)
    inner = n.Relu(n.conv(x, WIDTH, 6))
    y = n.Add(x, n.conv(inner, 6, WIDTH))
    return [n.head(y, WIDTH), n.head(inner, 6)]


def shown_inside(n: Net) -> list[str]:
    """What lies inside the branch is an output of the model."""
    x = stem(n)
    inner = n.conv(n.Relu(n.conv(x, WIDTH, 6)), 6, WIDTH)
    return [n.head(n.Relu(n.Add(x, inner)), WIDTH), inner]


def stretched(n: Net) -> str:
    """The branch makes one number per channel, which is added everywhere."""
    x = stem(n)
    pooled = n.GlobalAveragePool(x)
    y = n.conv(n.Relu(n.conv(pooled, WIDTH, 4, 1)), 4, WIDTH, 1)
    return n.head(n.Relu(n.Add(x, y)), WIDTH)


def without_weights(n: Net) -> str:
    """A sum of a tensor and a power of it, as in an activation that is spelt out."""
    x = stem(n)
    return n.head(n.Add(x, n.Mul(x, n.Mul(x, x))), WIDTH)


def of_one_weight(n: Net) -> str:
    """Two branches that multiply by the same stored matrix."""
    x, weight = n.linear(n.input("x", 4), 4, 6), n.weight(6, 6)
    for _ in range(2):
        x = n.Add(x, n.Relu(n.MatMul(x, weight)))
    return n.linear(x, 6, 3)


def shown_sum(n: Net) -> list[str]:
    """Both the stream and the sum are outputs."""
    x = stem(n)
    y = basic(n, x)
    return [y, n.head(n.Relu(basic(n, y)), WIDTH)]
