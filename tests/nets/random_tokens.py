"""Steps of random nets over tokens, attention above all."""

from __future__ import annotations

import numpy as np

from tests.nets.random_net import WIDTHS, Feature, Mixture

Made = Feature | list[Feature] | None


def to_image(m: Mixture, x: Feature) -> Made:
    if x.area != (16,):
        return None
    return Feature(m.net.image(x.name, x.size, 4, 4), x.size, (4, 4))


def norm(m: Mixture, x: Feature) -> Made:
    y = m.net.layer_norm(x.name, x.size, native=m.chance(0.5))
    return Feature(y if m.chance(0.6) else m.net.rms_norm(x.name, x.size), x.size, x.area)


def position(m: Mixture, x: Feature) -> Made:
    if x.area == (0,):
        return None
    y = m.net.Add(x.name, m.net.weight(1, x.area[0], x.size, scale=0.3))
    return Feature(y, x.size, x.area)


def class_token(m: Mixture, x: Feature) -> Made:
    """One token more, the same for the whole batch."""
    if x.area == (0,):
        return None
    net = m.net
    first = net.weight(1, 1, x.size)
    if m.chance(0.5):
        batch = net.unsqueeze(net.Gather(net.Shape(x.name), net.const(np.int64(0))), 0)
        first = net.Expand(first, net.Concat(batch, net.ints(1, x.size), axis=0))
    else:
        first = net.Add(first, net.Mul(net.slice(x.name, 0, 1, 1), net.scalar(0)))
    return Feature(net.Concat(first, x.name, axis=1), x.size, (x.area[0] + 1,))


def pooled_tokens(m: Mixture, x: Feature) -> Made:
    """A statistic over tokens, added to each."""
    y = m.net.reduce(m.pick("ReduceMean", "ReduceMax"), x.name, 1)
    return Feature(m.net.Add(x.name, y), x.size, x.area)


def feed_forward(m: Mixture, x: Feature) -> Made:
    hidden, net = m.pick(8, 10), m.net
    if m.chance(0.5):
        y = net.Relu(net.linear(x.name, x.size, hidden))
    else:
        gate = net.linear(x.name, x.size, hidden, bias=False)
        y = net.Mul(net.Sigmoid(gate), net.linear(x.name, x.size, hidden, bias=False))
    return Feature(net.Add(x.name, net.linear(y, hidden, x.size)), x.size, x.area)


def mixer(m: Mixture, x: Feature) -> Made:
    if x.area == (0,):
        return None
    y = m.net.Transpose(x.name, perm=[0, 2, 1])
    hidden = m.pick(4, 8)
    y = m.net.linear(m.net.Relu(m.net.linear(y, x.area[0], hidden)), hidden, x.area[0])
    return Feature(m.net.Add(x.name, m.net.Transpose(y, perm=[0, 2, 1])), x.size, x.area)


def convolution_1d(m: Mixture, x: Feature) -> Made:
    size = m.pick(*WIDTHS)
    y = m.net.conv(m.net.Transpose(x.name, perm=[0, 2, 1]), x.size, size, dims=1)
    return Feature(m.net.Transpose(y, perm=[0, 2, 1]), size, x.area)


def attention(m: Mixture, x: Feature) -> Made:
    """Heads of queries, keys and values in one of many layouts."""
    net, (length,) = m.net, x.area
    heads, width = m.pick((2, 4), (2, 3), (3, 4), (1, 6))
    layout = m.pick("separate", "gather", "split", "per head", "shared", "einsum", "rope")
    size = heads * width
    lin = lambda make: net.linear(x.name, x.size, make, bias=m.chance(0.7))  # noqa: E731
    if layout == "gather":
        t = net.reshape(lin(3 * size), length, 3, heads, width)
        t = net.Transpose(t, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.Gather(t, net.const(np.int64(i)), axis=0) for i in range(3))
    elif layout == "split":
        q, k, v = (
            net.heads(t, length, heads, width) for t in net.split(lin(3 * size), [size] * 3, 2)
        )
    elif layout == "per head":
        t = net.reshape(lin(3 * size), length, heads, 3 * width)
        q, k, v = net.split(net.Transpose(t, perm=[0, 2, 1, 3]), [width] * 3, 3)
    elif layout == "shared":
        q = net.heads(lin(2 * size), length, 2 * heads, width)
        k, v = (_repeated(m, lin(size), length, heads, width) for _ in range(2))
        heads, size = 2 * heads, 2 * size
    else:
        q, k, v = (net.heads(lin(size), length, heads, width) for _ in range(3))
    turns = layout == "rope" or (layout != "einsum" and m.chance(0.3))
    if turns and width % 2 == 0 and length:
        cos, sin = net.weight(length, width), net.weight(length, width)
        q, k = (_rotated(m, t, width, cos, sin) for t in (q, k))
    if m.chance(0.2):  # a temperature per head
        q = net.Mul(q, net.weight(heads, 1, 1, shift=1))
    if layout == "einsum" and net.opset >= 13:
        s = net.Einsum(q, k, equation="bhqd,bhkd->bhqk")
        s = net.Softmax(net.Add(s, net.weight(1, heads, length or 1, length or 1)), axis=-1)
        o = net.Einsum(s, v, equation="bhqk,bhkd->bqhd")
        o = net.reshape(o, length, size)
    else:
        o = net.merge(net.attend(q, net.Transpose(k, perm=[0, 1, 3, 2]), v), length, size)
    return Feature(net.Add(x.name, net.linear(o, size, x.size)), x.size, x.area)


def _repeated(m: Mixture, name: str, length: int, heads: int, width: int) -> str:
    net = m.net
    t = net.unsqueeze(net.heads(name, length, heads, width), 2)
    stated = net.batch == 2 and length and m.chance(0.5)
    t = net.Expand(t, net.ints(*((2, heads, 2, length, width) if stated else (1, 1, 2, 1, 1))))
    return net.reshape(t, 2 * heads, length or -1, width)


def _rotated(m: Mixture, x: str, width: int, cos: str, sin: str) -> str:
    net = m.net
    low, high = net.slice(x, 0, width // 2, 3), net.slice(x, width // 2, width, 3)
    return net.Add(net.Mul(x, cos), net.Mul(net.Concat(net.Neg(high), low, axis=3), sin))


def attention_across(m: Mixture, x: Feature) -> Made:
    """The matrix of products has channels on both axes."""
    net, a, b = m.net, m.pick(4, 6), m.pick(3, 6)
    q, k, v = (net.linear(x.name, x.size, size) for size in (a, b, b))
    s = net.Tanh(net.MatMul(net.Transpose(q, perm=[0, 2, 1]), k))
    o = net.MatMul(v, net.Transpose(s, perm=[0, 2, 1]))
    return Feature(net.Add(x.name, net.linear(o, a, x.size)), x.size, x.area)


def attention_of_channels(m: Mixture, x: Feature) -> Made:
    """Within every head, each channel looks at all channels."""
    net, (length,) = m.net, x.area
    heads, width = m.pick((2, 3), (1, 4), (2, 4), (3, 2))
    q, k, v = (net.linear(x.name, x.size, heads * width) for _ in range(3))
    s = net.MatMul(net.heads(q, length, heads, width, key=True), net.heads(k, length, heads, width))
    if m.chance(0.5):  # a temperature per head
        s = net.Mul(s, net.weight(heads, 1, 1, shift=1))
    s = net.Tanh(net.Mul(s, net.scalar(0.3)))
    o = net.MatMul(s, net.heads(v, length, heads, width, key=True))
    o = net.reshape(net.Transpose(o, perm=[0, 3, 1, 2]), length, heads * width)
    return Feature(net.Add(x.name, net.linear(o, heads * width, x.size)), x.size, x.area)


def attention_linear(m: Mixture, x: Feature) -> Made:
    net, (length,) = m.net, x.area
    heads, width = m.pick((2, 3), (1, 4), (2, 4))
    q, k, v = (net.linear(x.name, x.size, heads * width) for _ in range(3))
    kv = net.MatMul(
        net.heads(k, length, heads, width, key=True), net.heads(v, length, heads, width)
    )
    o = net.merge(net.MatMul(net.heads(q, length, heads, width), kv), length, heads * width)
    return Feature(net.Add(x.name, net.linear(o, heads * width, x.size)), x.size, x.area)


def recurrent(m: Mixture, x: Feature) -> Made:
    """A layer over the tokens, in one direction or both, started by zeros, numbers or nothing."""
    net, (length,) = m.net, x.area
    op, ways, size = m.pick("LSTM", "GRU", "RNN"), m.pick(1, 2), m.pick(3, 4, 6)
    y = net.Transpose(x.name, perm=[1, 0, 2])
    rows = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * size
    given = [net.weight(ways, rows, n, scale=n**-0.5) for n in (x.size, size)]
    given += [net.weight(ways, 2 * rows, scale=0.1)] if m.chance(0.7) else [""]
    if m.chance(0.4):
        batch = net.unsqueeze(net.Gather(net.Shape(y), net.const(np.int64(1))), 0)
        shape = net.Concat(net.ints(ways), batch, net.ints(size), axis=0)
        zeros = m.chance(0.5)
        given += ["", net.ConstantOfShape(shape) if zeros else net.Expand(net.scalar(0.3), shape)]
    more = {"activations": ["Sigmoid"] * ways} if op == "RNN" and m.chance(0.5) else {}
    way = "bidirectional" if ways == 2 else m.pick("forward", "reverse")
    y = net.node(op, y, *given, hidden_size=size, direction=way, **more)
    y = net.Transpose(y, perm=[2, 0, 1, 3])
    return Feature(net.reshape(y, length, ways * size), ways * size, x.area)


def windows(m: Mixture, x: Feature) -> Made:
    """Pairs of neighbours become longer batches, are mixed, and come back."""
    if x.area == (0,):
        return None
    net, (length,) = m.net, x.area
    if length % 2:
        return None
    y = net.Reshape(x.name, net.ints(-1, length // 2, x.size))
    y = net.Relu(net.linear(y, x.size, x.size))
    y = net.linear(net.Transpose(y, perm=[0, 2, 1]), length // 2, length // 2)
    y = net.Reshape(net.Transpose(y, perm=[0, 2, 1]), net.ints(-1, length, x.size))
    return Feature(y, x.size, x.area)
