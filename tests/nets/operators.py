"""Motifs of special operators: quantised weights, what optimisers fuse."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.nets.motif import motif
from tests.nets.net import Net

FUSED = "com.microsoft"


def stored_as_integers(n: Net, *shape: int, axis: int | None = 0, dtype: type = np.int8) -> str:
    """A weight behind DequantizeLinear, scaled per channel or as a whole."""
    low, high = (-120, 120) if dtype is np.int8 else (10, 240)
    whole = n.const(n.random.integers(low, high, shape).astype(dtype))
    if axis is None:
        return n.DequantizeLinear(whole, n.const(np.float32(0.01)), n.const(dtype(low + 120)))
    size = shape[axis]
    scale = n.const(((n.random.random(size) + 0.5) / 200).astype(np.float32))
    return n.DequantizeLinear(whole, scale, n.const(np.zeros(size, dtype)), axis=axis)


@motif("6 8", opset=13)
def quantised_weights(n: Net) -> str:
    y = n.Conv(n.input("x", 3, 6, 6), stored_as_integers(n, 8, 3, 3, 3), n.weight(8), pads=[1] * 4)
    y = n.Conv(
        n.Relu(y), stored_as_integers(n, 6, 8, 3, 3, axis=None, dtype=np.uint8), pads=[1] * 4
    )
    y = n.Flatten(n.GlobalAveragePool(n.Relu(y)))
    return n.MatMul(y, stored_as_integers(n, 6, 5, axis=1))


@motif("6 8", opset=13)
def quantised_activations(n: Net) -> str:
    def through(x: str) -> str:
        scale, zero = n.const(np.float32(0.05)), n.const(np.uint8(20))
        return n.DequantizeLinear(n.QuantizeLinear(x, scale, zero), scale, zero)

    y = through(n.Relu(n.conv(through(n.input("x", 3, 6, 6)), 3, 8)))
    return n.head(through(n.Relu(n.conv(y, 8, 6))), 6)


@motif("6 8")
def fused_convolutions(n: Net) -> str:
    weight = n.weight(8, 3, 3, 3), n.weight(8, scale=0.1)
    y = n.FusedConv(n.input("x", 3, 6, 6), *weight, domain=FUSED, activation="Relu", pads=[1] * 4)
    return n.head(n.QuickGelu(n.conv(y, 8, 6), domain=FUSED), 6)


@motif("10 12", "SkipLayerNormalization")
def fused_layers(n: Net) -> str:
    y = n.linear(n.input("x", 6, 5), 5, 12)
    z = n.BiasGelu(n.MatMul(y, n.weight(12, 10)), n.weight(10), domain=FUSED)
    z = n.FusedMatMul(z, n.weight(12, 10), domain=FUSED, transB=1, alpha=0.5)
    if n.norms:
        tensors = n.positive(12), n.weight(12), n.weight(12)
        y = n.SkipLayerNormalization(y, z, *tensors, domain=FUSED)
    else:
        y = n.affine(n.Add(y, z), 12)
    return n.linear(y, 12, 5)


@motif("4 6", opset=13)
def scaled_integers(n: Net) -> str:  # integers that are counted with, and cast
    y = n.Relu(n.conv(n.input("x", 3, 6, 6), 3, 6))
    whole = n.Cast(n.Mul(y, n.scalar(10)), to=TensorProto.INT32)
    whole = n.Mul(whole, n.const(np.arange(1, 7, dtype=np.int32).reshape(6, 1, 1)))
    y = n.Mul(n.Cast(whole, to=TensorProto.FLOAT), n.scalar(0.1))
    return n.head(n.conv(y, 6, 4), 4)
