"""Motifs of integers: operators on bytes, weights scaled by channel and by block."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from tests.nets.motif import motif
from tests.nets.net import Net
from tests.nets.recurrent import zeros

MICROSOFT = "com.microsoft"


def whole(n: Net, *shape: int, dtype: type = np.int8, most: int = 100) -> str:
    """Stored integers of about that size."""
    low = -most if dtype is not np.uint8 else 0
    return n.const(n.random.integers(low, most, shape).astype(dtype))


def scale(n: Net, *shape: int, size: float = 0.01) -> str:
    return n.const(((n.random.random(shape) + 0.5) * size).astype(np.float32))


def point(n: Net, value: int = 0, dtype: type = np.uint8) -> str:
    return n.const(dtype(value))


def q_conv(n: Net, x: str, given: tuple[str, str], read: int, make: int, **attrs: int) -> str:
    """A convolution of bytes, scaled per channel; its result has scale 0.1 and zero 30."""
    weight = whole(n, make, read // attrs.get("group", 1), 3, 3)
    zeros = n.const(np.zeros(make, np.int8))
    ways = (weight, scale(n, make), zeros, n.const(np.float32(0.1)), point(n, 30))
    bias = whole(n, make, dtype=np.int32, most=300)
    return n.QLinearConv(x, *given, *ways, bias, pads=[1] * 4, **attrs)


@motif("6 8", opset=13)
def convolutions_of_bytes(n: Net) -> str:
    first = n.const(np.float32(0.05)), point(n, 20)
    more = n.const(np.float32(0.1)), point(n, 30)
    y = q_conv(n, n.QuantizeLinear(n.input("x", 3, 6, 6), *first), first, 3, 8)
    y = n.MaxPool(y, kernel_shape=[3, 3], pads=[1] * 4)
    z = q_conv(n, q_conv(n, y, more, 8, 6), more, 6, 8)
    y = n.QLinearAdd(y, *more, z, *more, *more, domain=MICROSOFT)
    y = q_conv(n, y, more, 8, 8, group=8)
    y = n.QLinearGlobalAveragePool(y, *more, *more, domain=MICROSOFT)
    y = n.QLinearLeakyRelu(y, *more, *more, domain=MICROSOFT, alpha=0.1)
    y = n.QLinearMatMul(n.Flatten(y), *more, whole(n, 8, 5), scale(n, 5),
                        n.const(np.zeros(5, np.int8)), *more)  # fmt: skip
    return n.DequantizeLinear(y, *more)


@motif("10 12 6", opset=13)
def products_of_bytes(n: Net) -> str:  # ranges are found while it runs
    def through(x: str, read: int, make: int) -> str:
        q, size, zero = n.DynamicQuantizeLinear(x, outs=3)
        y = n.MatMulInteger(q, whole(n, read, make), zero, n.const(np.zeros(make, np.int8)))
        y = n.Mul(n.Cast(y, to=TensorProto.FLOAT), n.Mul(size, scale(n, make)))
        return n.Add(y, n.weight(make))

    y = n.Relu(through(n.linear(n.input("x", 6, 5), 5, 12), 12, 10))
    stored = whole(n, 10, 6, dtype=np.uint8), scale(n, 6), n.const(np.full(6, 50, np.uint8))
    y = n.DynamicQuantizeMatMul(y, *stored, n.weight(6), domain=MICROSOFT)
    q, size, zero = n.DynamicQuantizeLinear(n.Relu(y), outs=3)
    last = (whole(n, 6, 5), size, scale(n, 1), zero, point(n, 3, np.int8))
    return n.MatMulIntegerToFloat(q, *last, n.weight(5), domain=MICROSOFT)


@motif("12 12 12 4x4 4x4", opset=13)
def attention_of_bytes(n: Net) -> str:  # by column, and by tensor; q, k and v keep one width
    y = n.linear(n.input("x", 6, 5), 5, 12)
    step = n.const(np.float32(0.03)), point(n, 120)
    for each in (True, False):
        q = n.QuantizeLinear(y, *step)
        size = scale(n, 24, size=0.01) if each else n.const(np.float32(0.01))
        zeros = n.const(np.zeros(24, np.int8)) if each else point(n, 7, np.int8)
        given = (whole(n, 12, 24, most=60), n.weight(24, scale=0.1), step[0], size, "", step[1])
        z = n.QAttention(q, *given, zeros, domain=MICROSOFT, num_heads=2)
        y = n.linear(z, 8, 12)
    return n.linear(y, 12, 5)


@motif("5 6", opset=13)
def convolutions_while_running(n: Net) -> str:
    q, size, zero = n.DynamicQuantizeLinear(n.Relu(n.conv(n.input("x", 3, 6, 6), 3, 6)), outs=3)
    y = n.ConvInteger(q, whole(n, 5, 6, 3, 3), zero, point(n, 2, np.int8), pads=[1] * 4)
    y = n.Mul(n.Cast(y, to=TensorProto.FLOAT), n.Mul(size, n.scalar(0.01)))
    return n.head(n.Relu(n.Add(y, n.weight(1, 5, 1, 1))), 5)


@motif("4 6", opset=21)
def scaled_by_block(n: Net) -> str:  # 24 columns are 4 blocks, 12 are 6
    y = n.linear(n.input("x", 6, 5), 5, 24)
    stored = whole(n, 24, 12), scale(n, 4, 12), n.const(np.zeros((4, 12), np.int8))
    y = n.MatMul(n.Relu(y), n.DequantizeLinear(*stored, axis=0, block_size=6))
    small = n.random.integers(-7, 7, (5, 12)).astype(ml_dtypes.int4)
    weight = n.DequantizeLinear(n.const(small), scale(n, 5, 6, size=0.1), axis=1, block_size=2)
    return n.Gemm(n.Reshape(n.Tanh(y), n.ints(-1, 12)), weight, transB=1)


@motif("2 4 48", opset=13)
def packed_in_bits(n: Net) -> str:  # MatMulNBits: blocks of 16 rows, two to a byte of zeros
    def bits(x: str, read: int, make: int, zeros: bool = False, bias: bool = False) -> str:
        blocks = read // 16
        tensors = [whole(n, make, blocks, 8, dtype=np.uint8, most=255), scale(n, make, blocks)]
        given = [whole(n, make, -(-blocks // 2), dtype=np.uint8, most=255)] if zeros else []
        given += ["", "", n.weight(make)][len(given) :] if bias else []
        return n.MatMulNBits(x, *tensors, *given, domain=MICROSOFT, K=read, N=make, bits=4,
                             block_size=16)  # fmt: skip

    y = n.Relu(n.linear(n.input("x", 6, 5), 5, 64))
    y = n.Relu(bits(y, 64, 64, zeros=True))
    y = n.Tanh(bits(y, 64, 48, bias=True))
    return n.linear(y, 48, 5)


@motif("6 8", opset=13)
def biases_of_32_bits(n: Net) -> str:  # between QuantizeLinear and DequantizeLinear
    def stored(size: int, *shape: int, dtype: type = np.int8) -> str:
        zeros = n.const(np.zeros(size, dtype))
        return n.DequantizeLinear(whole(n, *shape, dtype=dtype), scale(n, size), zeros, axis=0)

    y = n.Conv(n.input("x", 3, 6, 6), stored(8, 8, 3, 3, 3), stored(8, 8, dtype=np.int32))
    step = n.const(np.float32(0.05)), point(n, 20)
    y = n.DequantizeLinear(n.QuantizeLinear(n.Relu(y), *step), *step)
    y = n.Conv(y, stored(6, 6, 8, 3, 3), stored(6, 6, dtype=np.int32))
    return n.head(n.Relu(y), 6)


@motif("4 6 8", opset=19)
def small_floats(n: Net) -> str:  # weights of 8 bits
    def stored(*shape: int, dtype: type) -> str:
        return n.const((n.random.standard_normal(shape) / 3).astype(dtype))

    first = stored(8, 3, 3, 3, dtype=ml_dtypes.float8_e4m3fn)
    y = n.Conv(n.input("x", 3, 6, 6), n.DequantizeLinear(first, scale(n, 8, size=1), axis=0))
    second = stored(6, 8, 3, 3, dtype=ml_dtypes.float8_e5m2)
    y = n.Conv(n.Relu(y), n.DequantizeLinear(second, n.const(np.float32(0.5))))
    y = n.Flatten(n.GlobalAveragePool(n.Relu(y)))
    return n.linear(n.Tanh(n.linear(y, 6, 4)), 4, 5)


@motif("12 2x4 2x6 5", opset=13)
def states_of_bytes(n: Net) -> str:  # scales per direction and per row; states stored and computed
    def layer(x: str, read: int, state: int, ways: int, *more: str, by: int = 0, zero: int = 0,
              dtype: type = np.int8, **attrs: Any) -> str:  # fmt: skip
        stored = [whole(n, ways, k, 4 * state, dtype=dtype) for k in (read, state)]
        sizes = (ways, by) if by else (ways,)
        beside = [t for _ in range(2)
                  for t in (scale(n, *sizes), n.const(np.full(sizes, zero, dtype)))]  # fmt: skip
        given = (*stored, n.weight(ways, 8 * state, scale=0.1), *more, *[""] * (4 - len(more)))
        way = "bidirectional" if ways == 2 else "reverse"
        y = n.DynamicQuantizeLSTM(x, *given, *beside, domain=MICROSOFT, hidden_size=state,
                                  direction=way, **attrs)  # fmt: skip
        return n.Reshape(n.Transpose(y, perm=[0, 2, 1, 3]), n.ints(0, 0, ways * state))

    y = n.Transpose(n.Relu(n.linear(n.input("x", 6, 5), 5, 12)), perm=[1, 0, 2])
    first, peep = zeros(n, y, 2, 6, 0.4), n.weight(2, 18, scale=0.3)
    odd = ["HardSigmoid", "Softsign", "Relu"] * 2
    y = layer(y, 12, 6, 2, "", first, first, peep, zero=3, activations=odd)
    y = layer(y, 12, 4, 2, by=16)
    y = layer(y, 8, 5, 1, zero=128, dtype=np.uint8)
    return n.linear(n.Transpose(y, perm=[1, 0, 2]), 5, 5)


def table(n: Net, rows: int, width: int, zero: int = 128) -> tuple[str, str, str]:
    """Stored rows of unsigned bytes, their scale and zero point."""
    return whole(n, rows, width, dtype=np.uint8, most=255), scale(n), point(n, zero)


@motif("10 12 8", opset=13)
def tables_of_bytes(n: Net) -> str:  # rows that are multiplied, and rows that are made whole
    ids = n.input("ids", 6, dtype=np.int64)
    first, second = table(n, 20, 12), table(n, 20, 10, zero=90)
    step = n.const(np.float32(0.02)), point(n, 100)
    weight = whole(n, 12, 10, dtype=np.uint8, most=255), scale(n, size=0.02), point(n, 120)
    y = n.QLinearMatMul(n.Gather(first[0], ids), *first[1:], *weight, *step)
    z = n.DequantizeLinear(n.Gather(second[0], ids), *second[1:])
    y = n.Add(n.DequantizeLinear(y, *step), z)
    y = n.Relu(n.linear(y, 10, 8))
    return n.linear(y, 8, 5)


@motif("12 4 8", opset=13)
def chosen_bytes(n: Net) -> str:  # one of two tensors, and a softmax over places
    x, steps = n.input("x", 6, 5), [(n.const(np.float32(0.02)), point(n, k)) for k in (100, 120, 7)]
    a, b = (n.QuantizeLinear(n.linear(x, 5, 12), *step) for step in steps[:2])
    which = n.Greater(n.linear(x, 5, 12), n.scalar(0.1))
    y = n.QLinearWhere(which, a, *steps[0], b, *steps[1], *steps[2], domain=MICROSOFT)
    small = n.const(np.float32(1 / 256)), point(n, 0)
    z = n.QLinearSoftmax(y, *steps[2], *small, domain=MICROSOFT, axis=1, opset=13)
    weight = whole(n, 12, 8), scale(n), point(n, 0, np.int8)
    y = n.DequantizeLinear(n.QLinearMatMul(z, *small, *weight, *steps[0]), *steps[0])
    return n.linear(n.Relu(n.linear(n.Relu(y), 8, 4)), 4, 5)


@motif("12 8", "QLinearSoftmax", opset=13)
def softmax_of_bytes(n: Net) -> str:  # over channels
    steps = [(n.const(np.float32(k)), point(n, 3)) for k in (0.05, 0.004)]
    y = n.QuantizeLinear(n.linear(n.input("x", 6, 5), 5, 12), *steps[0])
    if n.norms:
        y = n.QLinearSoftmax(y, *steps[0], *steps[1], domain=MICROSOFT, axis=-1, opset=13)
    weight = whole(n, 12, 8), scale(n), point(n, 0, np.int8)
    y = n.QLinearMatMul(y, *steps[1], *weight, *steps[0])
    return n.linear(n.Relu(n.DequantizeLinear(y, *steps[0])), 8, 5)


@motif("10 12", "QEmbedLayerNormalization", opset=13)
def embedded_bytes(n: Net) -> str:
    ids = n.input("ids", 6, dtype=np.int32)
    tables = [table(n, rows, 12, zero) for rows, zero in ((20, 128), (6, 100))]
    if n.norms:
        own = [(whole(n, 12, dtype=np.uint8), scale(n), point(n, 40)) for _ in range(2)]
        parts = [*tables, ("", "", ""), *own]
        given = *(p[0] for p in parts), "", *(p[1] for p in parts), *(p[2] for p in parts)
        y, _ = n.QEmbedLayerNormalization(n.Abs(ids), "", *given, domain=MICROSOFT, outs=2)
    else:
        y = n.DequantizeLinear(n.Gather(tables[0][0], n.Abs(ids)), *tables[0][1:])
        y = n.Add(y, n.DequantizeLinear(*tables[1]))
        y = n.affine(y, 12)
    return n.linear(n.Relu(n.linear(y, 12, 10)), 10, 5)


@motif("2 4 48", opset=13)
def tables_in_bits(n: Net) -> str:  # columns in blocks of 16, four bits and eight
    ids = n.input("ids", 6, dtype=np.int64)
    more = {"domain": MICROSOFT, "gather_axis": 0, "quantize_axis": 1, "block_size": 16}
    stored = whole(n, 20, 32, dtype=np.uint8, most=255), ids, scale(n, 20, 4)
    packed = whole(n, 20, 2, dtype=np.uint8, most=255)
    y = n.linear(n.GatherBlockQuantized(*stored, packed, bits=4, **more), 64, 48)
    whole_bytes = whole(n, 20, 64, dtype=np.uint8, most=255), ids, scale(n, 20, 4)
    z = n.linear(n.GatherBlockQuantized(*whole_bytes, bits=8, **more), 64, 48)
    return n.linear(n.Relu(n.Add(y, z)), 48, 5)
