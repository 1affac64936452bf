"""Motifs of networks over tokens: attention in all its layouts, norms, embeddings, products."""

from __future__ import annotations

import numpy as np

from tests.nets.motif import motif
from tests.nets.net import Net

L, C = 6, 12
"""Tokens and features of most motifs."""


def stem(n: Net, size: int = C, length: int = L) -> str:
    return n.linear(n.input("x", length, 10), 10, size)


def feed_forward(n: Net, x: str, size: int, hidden: int, op: str = "Relu") -> str:
    return n.linear(n.node(op, n.linear(x, size, hidden)), hidden, size)


@motif("12 3x4 3x4")
def attention_separate(n: Net) -> str:
    y = stem(n)
    q, k, v = (n.heads(n.linear(y, C, 12), L, 3, 4, key=i == 1) for i in range(3))
    return n.linear(n.Add(y, n.linear(n.merge(n.attend(q, k, v), L, 12), 12, C)), C, 5)


def attention_over(n: Net, y: str, q: str, k: str, v: str, width: int) -> str:
    o = n.linear(n.merge(n.attend(q, n.Transpose(k, perm=[0, 1, 3, 2]), v), L, width), width, C)
    return n.linear(n.Add(y, o), C, 5)


@motif("12 6x4")
def attention_fused_by_gather(n: Net) -> str:  # [q k v] x heads x width
    y = stem(n)
    t = n.Transpose(n.reshape(n.linear(y, C, 36), L, 3, 3, 4), perm=[2, 0, 3, 1, 4])
    q, k, v = (n.Gather(t, n.const(np.int64(i)), axis=0) for i in range(3))
    return attention_over(n, y, q, k, v, 12)


@motif("12 2x4 2x4")
def attention_fused_per_head(n: Net) -> str:  # heads x [q k v] x width
    y = stem(n)
    t = n.Transpose(n.reshape(n.linear(y, C, 24), L, 2, 12), perm=[0, 2, 1, 3])
    q, k, v = n.split(t, [4, 4, 4], 3)
    return attention_over(n, y, q, k, v, 8)


@motif("12 2x4 2x4")
def attention_fused_by_split(n: Net) -> str:  # split first, then heads
    y = stem(n)
    parts = n.split(n.linear(y, C, 24), [8, 8, 8], 2)
    q, k, v = (n.heads(t, L, 2, 4) for t in parts)
    return attention_over(n, y, q, k, v, 8)


@motif("12 4x4")
def attention_fused_by_squeeze(n: Net) -> str:  # split of an axis of three, then squeezed
    y = stem(n)
    t = n.Transpose(n.reshape(n.linear(y, C, 24), L, 3, 2, 4), perm=[2, 0, 3, 1, 4])
    q, k, v = (n.squeeze(part, 0) for part in n.split(t, [1, 1, 1], 0))
    return attention_over(n, y, q, k, v, 8)


@motif("12 2x4 2x4")
def attention_grouped_queries(n: Net) -> str:  # four heads of queries share two of keys
    y = stem(n)
    q = n.heads(n.linear(y, C, 16), L, 4, 4)

    def repeated(t: str) -> str:
        wide = n.const(np.array([1, 1, 2, 1, 1], np.int64))
        t = n.Expand(n.unsqueeze(n.heads(t, L, 2, 4), 2), wide)
        return n.reshape(t, 4, L, 4)

    k, v = (repeated(n.linear(y, C, 8)) for _ in range(2))
    return attention_over(n, y, q, k, v, 16)


@motif("12 3x4 3x4", opset=13)
def attention_by_einsum(n: Net) -> str:
    y = stem(n)
    q, k, v = (
        n.Einsum(y, n.weight(C, 3, 4, scale=0.3), equation="blc,chd->blhd") for _ in range(3)
    )
    weights = n.Softmax(n.Einsum(q, k, equation="bqhd,bkhd->bhqk"), axis=-1)
    o = n.Einsum(weights, v, equation="bhqk,bkhd->bqhd")
    y = n.Add(y, n.Einsum(o, n.weight(3, 4, C, scale=0.3), equation="blhd,hdc->blc"))
    return n.linear(y, C, 5)


@motif("12 4 6", "Softmax")
def attention_across_channels(n: Net) -> str:  # the products have channels on both axes
    y = stem(n)
    q, k, v = (n.linear(y, C, size) for size in (4, 6, 6))
    s = n.MatMul(n.Transpose(q, perm=[0, 2, 1]), k)
    s = n.softmax(s, 3) if n.norms else n.Tanh(s)
    o = n.MatMul(v, n.Transpose(s, perm=[0, 2, 1]))
    return n.linear(n.Add(y, n.linear(o, 4, C)), C, 5)


@motif("2x4 2x4")
def attention_linear(n: Net) -> str:  # keys times values first: a matrix of channels per head
    y = n.linear(n.input("x", L, 10), 10, 8)
    q, k, v = (n.heads(n.Sigmoid(n.linear(y, 8, 8)), L, 2, 4, key=i == 1) for i in range(3))
    return n.linear(n.Add(y, n.merge(n.MatMul(q, n.MatMul(k, v)), L, 8)), 8, 5)


def rotated(n: Net, x: str, width: int, part: int, cos: str, sin: str) -> str:
    """Half rope: the first `part` features turn, the rest passes."""
    turn = n.slice(x, 0, part, 3)
    low, high = n.slice(turn, 0, part // 2, 3), n.slice(turn, part // 2, part, 3)
    turn = n.Add(n.Mul(turn, cos), n.Mul(n.Concat(n.Neg(high), low, axis=3), sin))
    return turn if part == width else n.Concat(turn, n.slice(x, part, width, 3), axis=3)


@motif("12 2x8 4")  # the tables are shared by the heads, the halves turn together
def rope_on_half(n: Net) -> str:
    y = stem(n)
    cos, sin = n.weight(L, 8), n.weight(L, 8)
    q, k, v = (n.heads(n.linear(y, C, 16), L, 2, 8) for _ in range(3))
    q, k = (rotated(n, t, 8, 8, cos, sin) for t in (q, k))
    return attention_over(n, y, q, k, v, 16)


@motif("12 2 2x4 2x8")
def rope_on_a_part(n: Net) -> str:
    y = stem(n)
    cos, sin = n.weight(L, 4), n.weight(L, 4)
    q, k, v = (n.heads(n.linear(y, C, 16), L, 2, 8) for _ in range(3))
    q, k = (rotated(n, t, 8, 4, cos, sin) for t in (q, k))
    return attention_over(n, y, q, k, v, 16)


@motif("12 3x4")  # one box for all three: values go in pairs, as queries and keys turn in pairs
def rope_in_one_projection(n: Net) -> str:
    y = stem(n)
    cos, sin = n.weight(L, 8), n.weight(L, 8)
    t = n.reshape(n.linear(y, C, 48), L, 3, 2, 8)
    t = n.Transpose(t, perm=[2, 0, 3, 1, 4])
    q, k, v = (n.Gather(t, n.const(np.int64(i)), axis=0) for i in range(3))
    q, k = (rotated(n, t, 8, 8, cos, sin) for t in (q, k))
    return attention_over(n, y, q, k, v, 16)


@motif("12 2x8 4")  # what does not turn is an empty slice
def rope_on_all_of_a_part(n: Net) -> str:
    y = stem(n)
    cos, sin = n.weight(L, 8), n.weight(L, 8)
    parts = n.split(n.linear(y, C, 48), [16, 16, 16], 2)
    q, k, v = (n.heads(t, L, 2, 8) for t in parts)

    def in_part(t: str) -> str:
        rest = n.slice(t, 8, 1 << 31, 3)
        return n.Concat(rotated(n, n.slice(t, 0, 8, 3), 8, 8, cos, sin), rest, axis=3)

    return attention_over(n, y, in_part(q), in_part(k), v, 16)


@motif("12 2x8 4")
def rope_interleaved(n: Net) -> str:  # pairs of neighbours turn
    y = stem(n)
    cos, sin = n.weight(L, 4), n.weight(L, 4)

    def rotated(t: str) -> str:
        even, odd = n.slice(t, 0, 8, 3, 2), n.slice(t, 1, 8, 3, 2)
        a = n.Sub(n.Mul(even, cos), n.Mul(odd, sin))
        b = n.Add(n.Mul(even, sin), n.Mul(odd, cos))
        pairs = n.Concat(n.unsqueeze(a, 4), n.unsqueeze(b, 4), axis=4)
        return n.reshape(pairs, 2, L, 8)

    q, k, v = (n.heads(n.linear(y, C, 16), L, 2, 8) for _ in range(3))
    return attention_over(n, y, rotated(q), rotated(k), v, 16)


@motif("16 24 4x4 4x4", "LayerNormalization", "LayerNormalization", "LayerNormalization")
def vision_transformer(n: Net) -> str:
    size, width = 16, 16
    y = n.Conv(n.input("x", 3, 8, 8), n.weight(size, 3, 2, 2), n.weight(size), strides=[2, 2])
    y = n.tokens(y, size, 16)
    first = n.weight(1, 1, size)
    if n.sizes == "computed":
        batch = n.unsqueeze(n.Gather(n.Shape(y), n.const(np.int64(0))), 0)
        first = n.Expand(first, n.Concat(batch, n.ints(1, size), axis=0))
    else:  # broadcast against zeros of the right batch
        first = n.Add(first, n.Mul(n.slice(y, 0, 1, 1), n.scalar(0)))
    y = n.Add(n.Concat(first, y, axis=1), n.weight(1, 17, size))
    z = n.layer_norm(y, size)
    q, k, v = (n.heads(n.linear(z, size, width), 17, 4, 4, key=i == 1) for i in range(3))
    y = n.Add(y, n.linear(n.merge(n.attend(q, k, v), 17, width), width, size))
    z = n.layer_norm(y, size)
    y = n.Add(y, n.linear(n.Erf(n.linear(z, size, 24)), 24, size))
    y = n.Gather(n.layer_norm(y, size), n.const(np.int64(0)), axis=1)
    return n.Gemm(y, n.weight(size, 5))


@motif("12 16 8 8", *["ReduceMean"] * 4, opset=11)
def norms_spelt_out(n: Net) -> str:
    y = stem(n)
    y = n.Add(y, feed_forward(n, n.layer_norm(y, C, native=False), C, 16))
    y = n.Add(y, feed_forward(n, n.rms_norm(y, C), C, 8))
    y = n.Add(y, feed_forward(n, n.rms_norm(y, C), C, 8))
    return n.linear(y, C, 5)


@motif("12 16", "RMSNormalization", opset=23)
def norm_of_newer_opsets(n: Net) -> str:
    y = stem(n)
    return n.linear(n.Add(y, feed_forward(n, n.rms_norm(y, C), C, 16, "Gelu")), C, 5)


@motif("12 8")
def mlp_mixer(n: Net) -> str:  # tokens are mixed by a weight of their own: two sets of channels
    y = stem(n)
    z = n.Transpose(n.Relu(n.linear(n.Transpose(y, perm=[0, 2, 1]), L, 8)), perm=[0, 2, 1])
    z = n.Transpose(n.linear(n.Transpose(z, perm=[0, 2, 1]), 8, L), perm=[0, 2, 1])
    return n.linear(n.Add(y, z), C, 5)


@motif("12 8")
def mixer_and_flatten(n: Net) -> str:  # tokens that cannot go leave the features free
    y = stem(n)
    z = n.linear(n.Relu(n.linear(n.Transpose(y, perm=[0, 2, 1]), L, 8)), 8, L)
    y = n.Add(y, n.Transpose(z, perm=[0, 2, 1]))
    return n.Gemm(n.Flatten(y), n.weight(L * C, 5, scale=0.1), n.weight(5))


@motif("12 8")
def matrix_flattened(n: Net) -> str:  # channels on two axes that become one
    y = n.MatMul(n.weight(8, L), n.Relu(stem(n)))
    return n.Gemm(n.Flatten(n.Tanh(y)), n.weight(8 * C, 5, scale=0.1), n.weight(5))


@motif("10 12")
def gated_feed_forward(n: Net) -> str:
    y = stem(n)
    gate = n.linear(y, C, 10, bias=False)
    z = n.Mul(n.Mul(gate, n.Sigmoid(gate)), n.linear(y, C, 10, bias=False))
    return n.linear(n.Add(y, n.linear(z, 10, C, bias=False)), C, 5)


@motif("10 12")
def gated_by_split(n: Net) -> str:  # one projection makes the gate and what it gates
    y = stem(n)
    a, b = n.split(n.linear(y, C, 20), [10, 10], 2)
    return n.linear(n.Add(y, n.linear(n.Mul(a, n.Sigmoid(b)), 10, C)), C, 5)


@motif("2x4 2x4 8")
def windows(n: Net) -> str:
    y = n.conv(n.input("x", 3, 4, 4), 3, 8)
    y = n.Transpose(y, perm=[0, 2, 3, 1])
    t = n.Transpose(n.reshape(y, 2, 2, 2, 2, 8), perm=[0, 1, 3, 2, 4, 5])
    t = n.Reshape(t, n.ints(-1, 4, 8))  # [N * windows, 4, C]
    q, k, v = (
        n.Transpose(n.Reshape(n.linear(t, 8, 8), n.ints(-1, 4, 2, 4)), perm=[0, 2, 1, 3])
        for _ in range(3)
    )
    o = n.attend(q, n.Transpose(k, perm=[0, 1, 3, 2]), v)
    o = n.Reshape(n.Transpose(o, perm=[0, 2, 1, 3]), n.ints(-1, 4, 8))
    o = n.Reshape(n.linear(o, 8, 8), n.ints(-1, 2, 2, 2, 2, 8))
    o = n.reshape(n.Transpose(o, perm=[0, 1, 3, 2, 4, 5]), 4, 4, 8)
    y = n.Transpose(n.Add(y, o), perm=[0, 3, 1, 2])
    return n.head(y, 8)


@motif("6 8", opset=11)
def gemm_transposed(n: Net) -> str:
    y = n.Gemm(n.input("x", 4), n.weight(8, 4), n.weight(8), transB=1, alpha=0.5)
    y = n.Gemm(n.Relu(y), n.weight(8, 6), n.weight(1, 6), beta=2.0)
    return n.Gemm(n.weight(6, 5), n.Transpose(n.Tanh(y)), transA=1)


@motif("6 8")
def weight_on_the_left(n: Net) -> str:
    y = n.Relu(n.MatMul(n.weight(8, 5), n.input("x", 5, 3)))
    y = n.Add(n.MatMul(n.weight(1, 6, 8), y), n.weight(6, 1))
    return n.MatMul(n.weight(4, 6), y)


@motif("4x3 4x5", opset=13)
def experts(n: Net) -> str:  # a product per expert: batch letters shared with the weight
    y = n.unsqueeze(n.input("x", 3, 7), 1)
    y = n.Relu(n.MatMul(y, n.weight(4, 7, 5)))
    y = n.Add(n.MatMul(y, n.weight(4, 5, 3)), n.weight(4, 1, 3))
    return n.reduce("ReduceSum", n.MatMul(n.Tanh(y), n.weight(4, 3, 6)), 1, keep=False)


@motif("4x3 4x5")
def experts_in_pairs(n: Net) -> str:  # operands of different rank share some of their batches
    y = n.reshape(n.Transpose(n.input("x", 3, 2, 7), perm=[0, 2, 1, 3]), 2, 1, 3, 7)
    y = n.Relu(n.MatMul(y, n.weight(4, 7, 5)))
    y = n.Tanh(n.MatMul(y, n.weight(4, 5, 3)))
    return n.reduce("ReduceSum", n.MatMul(y, n.weight(4, 3, 6)), 2, keep=False)


@motif("4x3", opset=13)
def experts_by_einsum(n: Net) -> str:
    y = n.Tanh(n.Einsum(n.input("x", 5, 7), n.weight(4, 7, 3), equation="ble,hed->bhld"))
    return n.Einsum(y, n.weight(4, 3, 6), equation="bhld,hdo->blo")


@motif("12 16", opset=13)
def tied_embedding(n: Net) -> str:
    ids = n.input("ids", L, dtype=np.int64)
    table = n.weight(20, C, scale=1.0)
    y = n.Add(n.Gather(table, ids), n.Gather(n.weight(8, C), n.const(np.arange(L))))
    y = n.Add(y, feed_forward(n, y, C, 16))
    return n.MatMul(y, n.Transpose(table, perm=[1, 0]))


@motif("12 6", opset=13)
def convolution_over_tokens(n: Net) -> str:
    y = stem(n)
    z = n.Transpose(y, perm=[0, 2, 1])
    z = n.conv(n.Relu(n.conv(z, C, C, dims=1, group=C)), C, 6, 1, dims=1)
    y = n.Concat(y, n.Transpose(n.Relu(z), perm=[0, 2, 1]), axis=-1)
    return n.linear(y, C + 6, 5)
