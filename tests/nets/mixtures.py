"""Motifs where channels meet what has labels on some of its axes only: gates, experts, norms."""

from __future__ import annotations

from tests.nets.motif import motif
from tests.nets.net import Net
from tests.nets.sequential import C, L, feed_forward, stem


@motif("12 3 3x4 3x4")
def talking_heads(n: Net) -> str:  # heads are mixed before the softmax, and after it
    y = stem(n)
    q, k, v = (n.heads(n.linear(y, C, 12), L, 3, 4, key=i == 1) for i in range(3))

    def mixed(t: str) -> str:
        return n.Transpose(n.linear(n.Transpose(t, perm=[0, 2, 3, 1]), 3, 3), perm=[0, 3, 1, 2])

    weights = mixed(n.softmax(mixed(n.MatMul(q, k)), 4))
    o = n.merge(n.MatMul(weights, v), L, 12)
    return n.linear(n.Add(y, n.linear(o, 12, C)), C, 5)


@motif("2x4 6 6", opset=13)
def split_attention(n: Net) -> str:  # both parts of a channel are weighed against each other
    y = n.Relu(n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8)), 8, 12, group=2))
    parts = n.reshape(y, 2, 6, 64)
    gate = n.reshape(n.reduce("ReduceSum", parts, 1, keep=False), 6, 8, 8)
    gate = n.conv(n.Relu(n.conv(n.GlobalAveragePool(gate), 6, 6, 1)), 6, 12, 1)
    gate = n.Softmax(n.reshape(gate, 2, 6, 1), axis=1)
    y = n.reduce("ReduceSum", n.Mul(parts, gate), 1, keep=False)
    return n.head(n.reshape(y, 6, 8, 8), 6)


@motif("12 16", opset=13)
def experts_picked_by_data(n: Net) -> str:  # the weights of a product come out of a table
    y = stem(n)
    picked = n.ArgMax(n.linear(n.reduce("ReduceMean", y, 1, keep=False), C, 4), axis=1, keepdims=0)
    rise = n.Gather(n.weight(4, 16, C, scale=0.3), picked, axis=0)
    fall = n.Gather(n.weight(4, C, 16, scale=0.3), picked, axis=0)
    z = n.Relu(n.MatMul(y, n.Transpose(rise, perm=[0, 2, 1])))
    z = n.MatMul(z, n.Transpose(fall, perm=[0, 2, 1]))
    return n.linear(n.Add(y, z), C, 5)


@motif("12 16x4", opset=13)
def experts_weighed_by_choice(n: Net) -> str:  # all are asked, one counts
    y = n.Relu(n.linear(n.input("x", 10), 10, C))
    gate = n.Hardmax(n.linear(y, C, 16), axis=-1)
    z = n.Relu(n.Einsum(y, n.weight(16, C, 4, scale=0.3), equation="nc,ech->enh"))
    z = n.Einsum(z, n.weight(16, 4, C, scale=0.3), equation="enh,ehd->end")
    z = n.Einsum(z, gate, equation="end,ne->nd")
    return n.linear(n.Add(y, z), C, 5)


def weighed(n: Net, y: str, count: int, size: int) -> str:
    """As many linear layers of a size as there are weights, summed up."""
    z = n.Einsum(y, n.weight(count, C, size, scale=0.3), equation="nc,ecd->end")
    return n.Einsum(z, n.Sigmoid(n.linear(y, C, count)), equation="end,ne->nd")


@motif("12 8", opset=13)
def few_experts_weighed(n: Net) -> str:  # what they make is cut, not their number
    y = n.Relu(n.linear(n.input("x", 10), 10, C))
    return n.linear(n.Relu(weighed(n, y, 3, 8)), 8, 5)


@motif("12 8", opset=13)
def many_experts_weighed(n: Net) -> str:  # the other way round
    y = n.Relu(n.linear(n.input("x", 10), 10, C))
    return n.linear(n.Relu(weighed(n, y, 8, 3)), 3, 5)


@motif("6 8")
def vectors_of_length_one(n: Net) -> str:  # the length is written out for every channel
    y = n.conv(n.input("x", 3, 8, 8), 3, 8)
    length = n.reduce("ReduceL2", y, 1)
    length = n.Expand(n.Max(length, n.scalar(1e-3)), n.Shape(y))
    return n.head(n.Relu(n.conv(n.Div(y, length), 8, 6)), 6)


@motif("6 8")
def vectors_of_length_one_by_tile(n: Net) -> str:
    y = n.conv(n.input("x", 3, 8, 8), 3, 8)
    length = n.Max(n.reduce("ReduceL2", y, 1), n.scalar(1e-3))
    y = n.Div(y, n.Tile(length, n.ints(1, 8, 1, 1)))
    return n.head(n.Relu(n.conv(y, 8, 6)), 6)


@motif("12 16", "GlobalAveragePool", "GlobalAveragePool")
def norm_by_global_pool(n: Net) -> str:  # tokens stand where a pool has its channels
    y = stem(n)
    if n.norms:
        y = n.Sub(y, n.GlobalAveragePool(y))
        power = n.GlobalAveragePool(n.Mul(y, y))
        y = n.Div(y, n.Sqrt(n.Add(power, n.scalar(1e-5))))
    return n.linear(n.Add(y, feed_forward(n, n.affine(y, C), C, 16)), C, 5)


@motif("6 8", "Conv")
def gate_from_neighbours(n: Net) -> str:  # a filter slides along the channels
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    gate = n.reshape(n.GlobalAveragePool(y), 1, 8)
    if n.norms:
        gate = n.conv(gate, 1, 1, 3, dims=1)
    y = n.Mul(y, n.reshape(n.Sigmoid(gate), 8, 1, 1))
    return n.head(n.Relu(n.conv(y, 8, 6)), 6)


@motif("2", opset=13)
def experts_slid_over(n: Net) -> str:  # a filter makes one unit of all that an expert hides
    hidden = n.Relu(n.MatMul(n.unsqueeze(n.input("x", 3, 7), 1), n.weight(4, 7, 5)))
    y = n.MatMul(n.Tanh(n.MatMul(hidden, n.weight(4, 5, 3))), n.weight(4, 3, 6))
    slid = n.reduce("ReduceSum", n.Relu(n.conv(hidden, 4, 2)), 1, keep=False)
    y = n.reduce("ReduceSum", y, 1, keep=False)
    return n.Add(y, n.reduce("ReduceSum", slid, 2))
