"""Cases of operators on integers: scales and zero points for a tensor, a channel, a block."""

from __future__ import annotations

import numpy as np

from tests.corpus.build import MICROSOFT, Case, case, noise, quantised


def signed(*shape: int) -> np.ndarray:
    """Bytes of both signs."""
    return ((noise(*shape) - 0.5) * 90).astype(np.int8)


def tens(*shape: int) -> np.ndarray:
    """Numbers about 100, of 32 bits."""
    return ((noise(*shape) - 0.5) * 300).astype(np.int32)


def products() -> list[Case]:
    """Products that round to bytes, and those that do not."""
    a, scale, zero = quantised(3, 4)
    ms, y = {"domain": MICROSOFT}, (np.float32(0.5), np.uint8(9))
    zeros, scales = np.arange(5).astype(np.int8), noise(5)
    return [
        case("MatMulInteger", 10, a, signed(4, 5), zero, zeros),
        case("MatMulInteger", 10, quantised(2, 3, 4)[0], signed(4, 5), zero),
        case("QLinearMatMul", 10, a, scale, zero, signed(4, 5), scales, zeros * 0, *y),
        case(
            "MatMulIntegerToFloat", 13, a, signed(4, 5), scale, scales, zero, zeros, noise(5), **ms
        ),
        case("DynamicQuantizeMatMul", 13, noise(3, 4), signed(4, 5), scales, zeros, noise(5), **ms),
        case(
            "QGemm",
            13,
            a,
            scale,
            zero,
            signed(5, 4),
            scales,
            zeros * 0,
            tens(5),
            *y,
            transB=1,
            **ms,
        ),
        case("QGemm", 13, a, scale, zero, signed(4, 5), scale, np.int8(2), None, **ms),
    ]


def convolutions() -> list[Case]:
    """Channels second and last, groups, biases of 32 bits."""
    x, scale, zero = quantised(2, 6, 5, 5)
    y, plain = (np.float32(0.5), np.uint8(9)), (np.float32(0.02), np.int8(0))
    w, each = signed(8, 3, 3, 3), (noise(8) / 50, np.zeros(8, np.int8))
    last = x.transpose(0, 2, 3, 1)
    return [
        case("ConvInteger", 10, x, w, zero, group=2, pads=[1, 1, 1, 1]),
        case("ConvInteger", 10, x, signed(6, 1, 3, 3), zero, np.int8(0), group=6),
        case("QLinearConv", 10, x, scale, zero, w, *each, *y, tens(8), group=2, pads=[1, 1, 1, 1]),
        case("QLinearConv", 10, x, scale, zero, signed(6, 1, 3, 3), *plain, *y, group=6),
        case(
            "QLinearConv",
            10,
            last,
            scale,
            zero,
            w,
            *each,
            *y,
            tens(8),
            group=2,
            channels_last=1,
            domain=MICROSOFT,
        ),
        case("QLinearConv", 10, x, scale, zero, w, *each, *y, group=2, domain=MICROSOFT),
    ]


def others() -> list[Case]:
    """Sums, activations and pools of bytes."""
    x, scale, zero = quantised(2, 6, 4, 4)
    ms, one, two = {"domain": MICROSOFT}, (scale, zero), (np.float32(0.2), np.uint8(5))
    pool = {"kernel_shape": [2, 2], **ms}
    return [
        case("QLinearAdd", 13, x, *one, x[:1], *two, *two, **ms),
        case("QLinearMul", 13, x, *one, x[:, :1], *two, *two, **ms),
        case("QLinearLeakyRelu", 13, x, *one, *two, alpha=0.2, **ms),
        case("QLinearSigmoid", 13, x, *one, np.float32(1 / 256), np.uint8(0), **ms),
        case("QLinearAveragePool", 13, x, *one, *two, **pool),
        case("QLinearGlobalAveragePool", 13, x, *one, *two, channels_last=0, **ms),
        case("QLinearGlobalAveragePool", 13, x, *one, *two, channels_last=1, **ms),
        case("QLinearWhere", 13, x[:1] > 9, x, *one, x[:, :1], *two, *two, **ms),
        case("QLinearSoftmax", 13, x, *one, *two, axis=2, opset=13, **ms),
        case("QLinearSoftmax", 13, x, *one, *two, axis=1, opset=11, **ms),
        case("QLinearConcat", 13, *two, x, *one, x[:, :3], *two, axis=1, **ms),
    ]


def tables() -> list[Case]:
    """Rows of bytes that are picked by number."""
    beside = [np.float32(0.1)] * 5 + [np.uint8(7)] * 5
    rows = quantised(6, 8)[0], quantised(3, 8)[0], quantised(2, 8)[0]
    norm = *rows, quantised(8)[0], quantised(8)[0], None
    few = np.array([[2, 0, 5]], np.int32), np.array([[1, 0, 1]], np.int32)
    return [case("QEmbedLayerNormalization", 13, *few, *norm, *beside, outs=2, domain=MICROSOFT)]


def blocks() -> list[Case]:
    """One scale for several rows or columns."""
    w, packed = signed(6, 8), quantised(4, 2, 8)[0]
    bits = {"K": 32, "N": 4, "bits": 4, "block_size": 16, "domain": MICROSOFT}
    x = noise(2, 3, 32)
    return [
        case(
            "DequantizeLinear", 21, w, noise(6, 4), np.zeros((6, 4), np.int8), axis=1, block_size=2
        ),
        case("DequantizeLinear", 21, w, noise(2, 8), None, axis=0, block_size=3),
        case("QuantizeLinear", 21, noise(6, 8), noise(6, 4), None, axis=1, block_size=2),
        case("MatMulNBits", 13, x, packed, noise(4, 2), **bits),
        case("MatMulNBits", 13, x, packed, noise(4, 2), quantised(4, 1)[0], None, noise(4), **bits),
        case(
            "MatMulNBits",
            13,
            noise(2, 64),
            quantised(4, 4, 8)[0],
            noise(4, 4),
            quantised(4, 2)[0],
            **{**bits, "K": 64},
        ),
        case("MatMulNBits", 13, x, packed, noise(4, 2), noise(4, 2), **bits),
        *tables(),
    ]
