"""Motifs of what onnxruntime's optimisers leave in files: fused attention, norms and rotations."""

from __future__ import annotations

import numpy as np

from tests.nets.motif import motif
from tests.nets.net import Net
from tests.nets.sequential import C, L, stem

FUSED = "com.microsoft"


def norm(n: Net, x: str, y: str) -> str:
    """Sum and norm in one, or what is neutral."""
    if not n.norms:
        return n.affine(n.Add(x, y), C)
    return n.SkipLayerNormalization(x, y, n.positive(C), n.weight(C, scale=0.1), domain=FUSED)


@motif("10 10 12 2x3 2x3 2x4 2x5", *["SkipLayerNormalization"] * 4)
def attention_with_projection(n: Net) -> str:
    y = stem(n)
    for sizes, more in (((6, 6, 6), {}), ((8, 8, 10), {"qkv_hidden_sizes": [8, 8, 10]})):
        weights = n.weight(C, sum(sizes), scale=0.3), n.weight(sum(sizes), scale=0.3)
        z = n.Attention(y, *weights, domain=FUSED, num_heads=2, **more)
        y = norm(n, y, n.linear(z, sizes[2], C))
        z = n.FastGelu(n.MatMul(y, n.weight(C, 10)), n.weight(10), domain=FUSED)
        y = norm(n, y, n.linear(z, 10, C))
    return n.linear(y, C, 5)


@motif("12 2x4 2x5 4x4")
def attention_of_many_heads(n: Net) -> str:  # in one piece, and over keys that are split
    y = stem(n)
    more = {"domain": FUSED, "num_heads": 2}
    q, k, v = (n.MatMul(y, n.weight(C, size, scale=0.3)) for size in (8, 8, 10))
    z = n.MultiHeadAttention(q, k, v, n.weight(26, scale=0.3), **more)
    y = n.Add(y, n.linear(n.QuickGelu(z, domain=FUSED), 10, C))
    k, v = (n.heads(n.linear(y, C, 8), L, 2, 4) for _ in range(2))
    z = n.MultiHeadAttention(n.linear(y, C, 8), k, v, scale=0.4, **more)
    return n.linear(n.Add(y, n.linear(z, 8, C)), C, 5)


@motif("12 2 2")
def attention_of_groups(n: Net) -> str:  # four heads of queries, two of keys, rotated inside
    y = stem(n)
    lengths = n.Expand(n.const(np.int32(L - 1)), n.slice(n.Shape(y), 0, 1, 0))
    total = n.const(np.int32(L))
    more = {"domain": FUSED, "num_heads": 4, "kv_num_heads": 2, "outs": 3}
    q, k, v = (n.linear(y, C, size) for size in (64, 32, 32))
    z, _, _ = n.GroupQueryAttention(q, k, v, "", "", lengths, total, **more)
    y = n.Add(y, n.linear(z, 64, C))
    tables = (n.weight(L, 8, scale=0.5) for _ in range(2))
    packed = n.linear(y, C, 128)
    z, _, _ = n.GroupQueryAttention(
        packed, "", "", "", "", lengths, total, *tables, do_rotary=1, **more
    )
    return n.linear(n.Add(y, n.linear(z, 64, C)), C, 5)


@motif("12 2x4 4")
def rotated_by_a_node(n: Net) -> str:  # pairs of channels, from both heads at once
    y = stem(n)
    places = n.const(np.array([0], np.int64))
    cos, sin = n.weight(L + 2, 4, scale=0.5), n.weight(L + 2, 4, scale=0.5)
    q, k = (
        n.RotaryEmbedding(n.linear(y, C, 16), places, cos, sin, domain=FUSED, num_heads=2)
        for _ in range(2)
    )
    z = n.MultiHeadAttention(q, k, n.linear(y, C, 8), domain=FUSED, num_heads=2)
    return n.linear(n.Add(y, n.linear(z, 8, C)), C, 5)


@motif("12 2 2x2 2x4", opset=23, fixed=True)
def rotated_in_part(n: Net) -> str:  # by the standard's own operators
    y = stem(n)
    cos, sin = n.weight(2, L, 2, scale=0.5), n.weight(2, L, 2, scale=0.5)
    more = {"num_heads": 2, "rotary_embedding_dim": 4}
    q, k = (n.RotaryEmbedding(n.linear(y, C, 12), cos, sin, **more) for _ in range(2))
    z = n.Attention(q, k, n.linear(y, C, 8), q_num_heads=2, kv_num_heads=2)
    return n.linear(n.Add(y, n.linear(z, 8, C)), C, 5)


@motif("10 12", "EmbedLayerNormalization", "SkipLayerNormalization", opset=13)
def embedded_and_normed(n: Net) -> str:
    ids, kinds = (n.input(name, L, dtype=np.int32) for name in ("ids", "kinds"))
    words, places, sorts = n.weight(20, C), n.weight(L, C), n.weight(5, C)
    few = n.Mod(kinds, n.const(np.int32(5)))
    if n.norms:
        scales = n.positive(C), n.weight(C, scale=0.1)
        tables = (words, places, sorts, *scales)
        y, _ = n.EmbedLayerNormalization(n.Abs(ids), n.Abs(few), *tables, domain=FUSED, outs=2)
    else:
        y = n.Add(n.Add(n.Gather(words, ids), places), n.Gather(sorts, n.Abs(few)))
        y = n.affine(y, C)
    z = n.BiasGelu(n.MatMul(y, n.weight(C, 10)), n.weight(10), domain=FUSED)
    return n.linear(norm(n, y, n.linear(z, 10, C)), C, 5)


@motif("6 8")
def convolutions_and_sums(n: Net, width: int = 8) -> str:
    y = n.conv(n.input("x", 3, 6, 6), 3, width)
    z = n.Relu(n.conv(y, width, 6))
    more = {"domain": FUSED, "activation": "Relu", "pads": [1] * 4}
    weight, bias = n.weight(width, 6, 3, 3, scale=0.1), n.weight(width, scale=0.1)
    y = n.FusedConv(z, weight, bias, y, **more)
    return n.head(y, width)


@motif("12 3x4 3x6", opset=13)
def experts_in_one_node(n: Net) -> str:
    y = n.Reshape(stem(n), n.ints(-1, C))
    router = n.MatMul(y, n.weight(C, 3))
    weights = n.weight(3, 6, C, scale=0.3), n.weight(3, 6), n.weight(3, C, 6), n.weight(3, C)
    z = n.MoE(y, router, *weights, domain=FUSED, k=2, activation_type="gelu")
    gated = n.weight(3, 8, C, scale=0.3), n.weight(3, 8), n.weight(3, C, 4), n.weight(3, C)
    z = n.MoE(n.Tanh(z), router, *gated, domain=FUSED, activation_type="swiglu", swiglu_fusion=1,
              activation_alpha=1.7, activation_beta=1.0)  # fmt: skip
    return n.Gemm(n.Tanh(z), n.weight(C, 5))
