"""Cases of operators with weights: groups, broadcasts, all opsets, weights that are computed."""

from __future__ import annotations

import numpy as np

from tests.corpus.build import MICROSOFT, Case, case, chain, noise, quantised, whole


def convolutions() -> list[Case]:
    """Groups, dimensions, paddings; images have several channels, as those of the wheel do not."""
    image, weight = noise(2, 6, 5, 5), noise(8, 3, 3, 3)
    offsets = noise(1, 2 * 2 * 4, 4, 4)
    return [
        case("Conv", 7, image, noise(4, 6, 3, 3), noise(4), auto_pad="SAME_UPPER"),
        case("Conv", 11, image, weight, noise(8), group=2, pads=[1, 1, 1, 1], strides=[2, 2]),
        case("Conv", 22, image, noise(6, 1, 3, 3), None, group=6),
        case("Conv", 13, image, noise(12, 1, 2, 2), noise(12), group=6, dilations=[2, 2]),
        case("Conv", 13, noise(2, 4, 9), noise(6, 2, 3), group=2),
        case("Conv", 13, noise(1, 4, 4, 4, 4), noise(3, 4, 2, 2, 2)),
        case(
            "ConvTranspose",
            11,
            image,
            noise(6, 4, 3, 3),
            noise(4),
            output_shape=[10, 10],
            strides=[2, 2],
        ),
        case("ConvTranspose", 7, image, noise(6, 2, 2, 2), noise(6), group=3, strides=[2, 2]),
        case("ConvTranspose", 22, image, noise(6, 1, 3, 3), group=6),
        case(
            "DeformConv",
            19,
            noise(1, 4, 5, 5),
            noise(6, 4, 2, 2),
            offsets,
            noise(6),
            offset_group=2,
        ),
        case(
            "FusedConv", 13, image, weight, noise(8), group=2, activation="Relu", domain=MICROSOFT
        ),
        case("FusedConv", 13, image, noise(6, 6, 1, 1), noise(6), image, domain=MICROSOFT),
        case("FusedConv", 13, image, noise(6, 3, 1, 1), None, image, group=2, domain=MICROSOFT),
    ]


def products() -> list[Case]:
    """Every broadcast of Gemm's C, batched matrices, equations."""
    a, b = noise(3, 4), noise(4, 5)
    found = [
        case("Gemm", 7 + 2 * (k % 4), a, b, noise(*c), alpha=0.5, beta=2.0)
        for k, c in enumerate([(5,), (1, 5), (3, 5), (3, 1), (1,), ()])
    ]
    found += [
        case("Gemm", 13, noise(4, 3), noise(5, 4), None, transA=1, transB=1),
        case("Gemm", 11, noise(4, 3), b, noise(5), transA=1),
        case("FusedGemm", 13, a, b, noise(5), activation="Relu", domain=MICROSOFT),
        case(
            "FusedMatMul", 13, noise(2, 4, 3), noise(2, 5, 4), transA=1, transB=1, domain=MICROSOFT
        ),
        case("FusedMatMul", 13, a, b, alpha=0.5, domain=MICROSOFT),
        case("QLinearMatMul", 10, *quantised(3, 4), *quantised(4, 5), np.float32(1), np.uint8(3)),
    ]
    shapes = [
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((6, 3, 4), (1, 4, 5)),
        ((2, 6, 3, 4), (6, 4, 5)),
    ]
    found += [case("MatMul", 7 + k, noise(*x), noise(*y)) for k, (x, y) in enumerate(shapes)]
    equations = {
        "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)],
        "...ij,jk->...ik": [(2, 3, 4), (4, 5)],
        "bhij,bhjd->bihd": [(2, 3, 4, 5), (2, 3, 5, 6)],
        "ij->ji": [(3, 4)],
        "ij->i": [(3, 4)],
        "ij->": [(3, 4)],
        "abc->ca": [(2, 3, 4)],
        "bij,bjk": [(2, 3, 4), (2, 4, 5)],
        "i,j->ij": [(3,), (4,)],
        "bi,bi->b": [(2, 4), (2, 4)],
        "abc,cd->abd": [(2, 3, 4), (4, 5)],
        "ij,jk->k": [(3, 4), (4, 5)],
        "ij,kj->ik": [(3, 4), (5, 4)],
        "bsd,hdk->bshk": [(2, 3, 4), (2, 4, 5)],
        "bshk,hkd->bsd": [(2, 3, 2, 5), (2, 5, 4)],
        "a,ab,b->a": [(3,), (3, 4), (4,)],
    }
    found += [
        case("Einsum", 12, *(noise(*s) for s in shapes), equation=e)
        for e, shapes in equations.items()
    ]
    return found


def conversions() -> list[Case]:
    """Scales for a tensor and for each channel."""
    x, (q, scale, zero) = noise(2, 4, 3), quantised(2, 4, 3)
    scales, zeros = noise(4), np.arange(4).astype(np.uint8)
    return [
        case("QuantizeLinear", 10, x, scale, zero),
        case("QuantizeLinear", 13, x, scales, zeros, axis=1),
        case("QuantizeLinear", 19, x, scales, None, axis=-2),
        case("DequantizeLinear", 10, q, scale, zero),
        case("DequantizeLinear", 13, q, scales, zeros, axis=1),
        case("DequantizeLinear", 13, quantised(4, 3)[0], scales, None, axis=0),
        case("DequantizeLinear", 21, q, noise(2, 2, 3), None, axis=1, block_size=2),
        case("DequantizeLinear", 13, q, scales, zeros, axis=1, domain=MICROSOFT),
        case("DynamicQuantizeLinear", 11, x, outs=3),
    ]


def chains() -> list[Case]:
    """Weights that are computed from stored bytes, and sizes that become numbers."""
    x, scale, zero = noise(2, 4, 5, 5), noise(6), np.zeros(6, np.int8)
    weight = (noise(6, 4, 3, 3) * 50).astype(np.int8)
    table = (noise(7, 4) * 50).astype(np.int8)
    return [
        chain(
            "DequantizeLinear",
            13,
            """w = DequantizeLinear <axis=0> (b, c, d)
            y = Conv (a, w, e)""",
            a=x,
            b=weight,
            c=scale,
            d=zero,
            e=noise(6),
        ),
        chain(
            "DequantizeLinear",
            13,
            """w = DequantizeLinear <axis=0> (b, c, d)
            y = Conv <group=6> (a, w)""",
            a=noise(2, 6, 5, 5),
            b=weight[:, :1],
            c=scale,
            d=zero,
        ),
        chain(
            "DequantizeLinear",
            13,
            """w = DequantizeLinear <axis=1> (b, c)
            y = MatMul (a, w)""",
            a=noise(2, 3, 7),
            b=table,
            c=noise(4),
        ),
        chain(
            "DequantizeLinear",
            10,
            """w = DequantizeLinear (b, c)
            y = Gather (w, a)""",
            a=whole(1, 5, 0),
            b=table,
            c=np.asarray(np.float32(0.1)),
        ),
        chain(
            "QuantizeLinear",
            13,
            """q = QuantizeLinear (a, b, c)
            r = DequantizeLinear (q, b, c)
            y = ConvTranspose (r, d)""",
            a=x,
            b=np.asarray(np.float32(0.01)),
            c=np.asarray(np.uint8(0)),
            d=noise(4, 3, 2, 2),
        ),
        chain(
            "Shape",
            15,
            """s = Shape <start=1, end=2> (a)
            f = Cast <to=1> (s)
            r = Sqrt (f)
            y = Div (a, r)""",
            a=x,
        ),
        chain(
            "Conv",
            13,
            """v = Mul (b, c)
            y = Conv <group=2> (a, v)""",
            a=x,
            b=noise(6, 2, 3, 3),
            c=noise(6, 1, 1, 1),
        ),
    ]


def norms() -> list[Case]:
    """Norms of all ages; statistics kept and thrown away."""
    image, c = noise(2, 6, 4, 4), [noise(6), noise(6), noise(6), noise(6)]
    x, d, bias = noise(2, 3, 4), noise(4), noise(4)
    skip = {"domain": MICROSOFT}
    return [
        *(case("BatchNormalization", v, image, *c) for v in (7, 9, 14, 15)),
        case("BatchNormalization", 15, noise(4, 6), *c),
        case("BatchNormalization", 15, noise(2, 6, 3), *c, training_mode=1, outs=3),
        case("InstanceNormalization", 22, image, *c[:2]),
        case("InstanceNormalization", 7, noise(2, 6, 5), *c[:2]),
        case("GroupNormalization", 18, image, noise(3), noise(3), num_groups=3),
        case("GroupNormalization", 21, image, *c[:2], num_groups=3),
        case("GroupNormalization", 21, noise(4, 6), *c[:2], num_groups=2),
        case("LayerNormalization", 17, x, d, bias, outs=3),
        case("LayerNormalization", 17, x, noise(3, 4), None, axis=1, outs=("y", "", "z")),
        case("LayerNormalization", 17, noise(2, 3, 2, 4), d, bias, axis=-1),
        case("RMSNormalization", 23, x, d),
        case("RMSNormalization", 23, x, noise(3, 4), axis=1),
        case("LpNormalization", 22, x, p=1, axis=1),
        case("LpNormalization", 7, x),
        case("LRN", 13, image, size=3),
        case("MeanVarianceNormalization", 13, image),
        case("MeanVarianceNormalization", 13, image, axes=[1, 2, 3]),
        *(
            case(op, v, x, axis=1)
            for op in ("Softmax", "LogSoftmax", "Hardmax")
            for v in (7, 11, 13)
        ),
        case(
            "SkipLayerNormalization", 17, x, x, d, bias, noise(4), outs=("y", "", "", "s"), **skip
        ),
        case("SkipSimplifiedLayerNormalization", 17, x, x, d, **skip),
        case("SimplifiedLayerNormalization", 17, x, d, axis=-1),
        case(
            "EmbedLayerNormalization",
            17,
            np.array([[0, 2, 3]], np.int32),
            np.array([[0, 1, 1]], np.int32),
            noise(7, 4),
            noise(5, 4),
            noise(2, 4),
            d,
            bias,
            outs=("y", "", "s"),
            **skip,
        ),
    ]


def sequences() -> list[Case]:
    """Recurrent layers and their kin."""
    x = noise(3, 2, 4)

    def gates(n: int, d: int = 1) -> list[np.ndarray]:
        return [noise(d, n * 5, 4), noise(d, n * 5, 5), noise(d, 2 * n * 5)]

    return [
        case("LSTM", 7, x, *gates(4), hidden_size=5, outs=3),
        case("LSTM", 14, x, *gates(4, 2), hidden_size=5, direction="bidirectional", outs=("", "h")),
        case("GRU", 14, x, *gates(3), hidden_size=5, linear_before_reset=1, outs=2),
        case("RNN", 22, x, *gates(1), hidden_size=5, layout=0, outs=2),
        case(
            "LSTM",
            14,
            x,
            *gates(4, 2),
            np.array([2, 3], np.int32),
            noise(2, 2, 5),
            noise(2, 2, 5),
            noise(2, 15),
            hidden_size=5,
            direction="bidirectional",
            activations=["Sigmoid", "Tanh", "Softsign", "HardSigmoid", "Relu", "Tanh"],
            outs=3,
        ),
        *(
            case(
                op,
                14,
                x,
                *gates(n),
                None,
                noise(3, 1, 5),
                hidden_size=5,
                layout=1,
                outs=2,
            )
            for op, n in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
        ),
        case("GRU", 22, x, *gates(3)[:2], None, None, noise(1, 2, 5), hidden_size=5, outs=2),
        case(
            "CausalConvWithState",
            27,
            noise(2, 4, 6),
            noise(4, 1, 3),
            noise(4),
            noise(2, 4, 2),
            outs=2,
        ),
    ]


def attentions() -> list[Case]:
    """Heads side by side and apart, shared by several queries, with a past."""
    q, k, v = noise(2, 4, 3, 6), noise(2, 2, 5, 6), noise(2, 2, 5, 4)
    flat, narrow, wide = noise(2, 3, 12), noise(2, 5, 12), noise(2, 5, 8)
    past = [noise(2, 2, 3, 6), noise(2, 2, 3, 4)]
    skip = {"domain": MICROSOFT, "num_heads": 4}
    return [
        case("Attention", 23, q, k, v),
        case("Attention", 23, q, k, v, None, *past, outs=3),
        case("Attention", 23, flat, noise(2, 5, 6), noise(2, 5, 4), q_num_heads=4, kv_num_heads=2),
        case("Attention", 23, flat, narrow, wide, q_num_heads=2, kv_num_heads=2, scale=0.1),
        case("Attention", 24, flat, narrow, wide, q_num_heads=4, kv_num_heads=4, is_causal=1),
        case("MultiHeadAttention", 17, flat, narrow, wide, noise(32), **skip),
        case("MultiHeadAttention", 17, flat, narrow, narrow, scale=0.5, **skip),
        case("MultiHeadAttention", 17, noise(2, 3, 4, 3, 3), **skip),
        case("MultiHeadAttention", 17, flat, noise(2, 5, 4, 2, 3), None, noise(36), **skip),
        case("MultiHeadAttention", 17, flat, noise(2, 4, 5, 3), noise(2, 4, 5, 3), **skip),
        case(
            "MultiHeadAttention",
            17,
            flat,
            narrow,
            narrow,
            None,
            None,
            noise(1, 4, 3, 8),
            noise(2, 4, 3, 3),
            noise(2, 4, 3, 3),
            outs=3,
            **skip,
        ),
        *fused_attentions(),
    ]


def fused_attentions() -> list[Case]:
    """Attention with its projection, with grouped queries, and rotations of both domains."""
    ms, x = {"domain": MICROSOFT}, noise(2, 3, 6)
    flat, image = noise(2, 3, 12), noise(2, 3, 4, 8)
    table, wide = noise(5, 3), noise(9, 16)
    places, past = np.array([[0, 1, 2], [2, 3, 4]]), np.zeros((2, 2, 0, 16), np.float32)
    lengths = np.array([2, 2], np.int32), np.asarray(np.int32(3))
    return [
        case("Attention", 17, x, noise(6, 24), noise(24), num_heads=2, **ms),
        case(
            "Attention",
            17,
            x,
            noise(6, 20),
            noise(20),
            num_heads=2,
            qkv_hidden_sizes=[8, 8, 4],
            scale=0.3,
            **ms,
        ),
        case(
            "Attention",
            17,
            x,
            noise(6, 36),
            noise(36),
            np.array([[1, 1, 0], [1, 1, 1]], np.int32),
            None,
            noise(2, 3, 3, 3),
            num_heads=3,
            unidirectional=1,
            **ms,
        ),
        case(
            "Attention",
            17,
            x,
            noise(6, 24),
            noise(24),
            None,
            noise(2, 2, 2, 4, 4),
            num_heads=2,
            outs=2,
            **ms,
        ),
        case(
            "GroupQueryAttention",
            17,
            noise(2, 3, 64),
            noise(2, 3, 32),
            noise(2, 3, 32),
            past,
            past,
            *lengths,
            num_heads=4,
            kv_num_heads=2,
            outs=3,
            **ms,
        ),
        case(
            "GroupQueryAttention",
            17,
            noise(2, 3, 192),
            None,
            None,
            None,
            None,
            *lengths,
            noise(9, 8),
            noise(9, 8),
            num_heads=8,
            kv_num_heads=2,
            do_rotary=1,
            **ms,
        ),
        case(
            "GroupQueryAttention",
            17,
            noise(2, 3, 64),
            noise(2, 3, 32),
            noise(2, 3, 32),
            None,
            None,
            *lengths,
            wide[:, :8],
            wide[:, 8:],
            None,
            noise(1, 1, 3, 3),
            noise(4),
            num_heads=4,
            kv_num_heads=2,
            do_rotary=1,
            **ms,
        ),
        case("RotaryEmbedding", 17, flat, places, table, table, num_heads=2, **ms),
        case("RotaryEmbedding", 17, flat, places, table, table, interleaved=1, **ms),
        case(
            "RotaryEmbedding",
            17,
            image,
            places,
            noise(5, 2),
            noise(5, 2),
            num_heads=3,
            rotary_embedding_dim=4,
            **ms,
        ),
        case("RotaryEmbedding", 23, flat, table, table, places, num_heads=2),
        case("RotaryEmbedding", 23, image, noise(5, 4), noise(5, 4), places),
        case(
            "RotaryEmbedding",
            23,
            image,
            noise(5, 2),
            noise(5, 2),
            places,
            interleaved=1,
            rotary_embedding_dim=4,
        ),
        case("RotaryEmbedding", 23, noise(2, 3, 16), noise(2, 3, 2), noise(2, 3, 2), num_heads=4),
    ]
