"""Motifs of image networks."""

from __future__ import annotations

import numpy as np

from tests.nets.motif import motif
from tests.nets.net import Net


@motif("6 8")
def plain(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    y = n.MaxPool(n.Relu(n.conv(y, 8, 6)), kernel_shape=[2, 2], strides=[2, 2])
    return n.Gemm(n.Flatten(y), n.weight(6 * 16, 5), n.weight(5))


@motif("6 8")
def residual(n: Net) -> str:
    y = n.Relu(n.batch_norm(n.conv(n.input("x", 3, 8, 8), 3, 8), 8))
    z = n.Relu(n.batch_norm(n.conv(y, 8, 6), 6))
    return n.head(n.Relu(n.Add(y, n.batch_norm(n.conv(z, 6, 8), 8))), 8)


@motif("10 4 6 8")
def residual_over_three_stages(n: Net) -> str:
    y = n.conv(n.input("x", 3, 8, 8), 3, 8)
    y = n.Add(y, n.conv(n.Relu(n.conv(y, 8, 4)), 4, 8))
    y = n.Add(n.conv(n.Relu(n.conv(y, 8, 6)), 6, 10), n.conv(y, 8, 10, 1))
    return n.head(n.Relu(y), 10)


@motif("4 4 8")
def dense(n: Net) -> str:
    a = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    b = n.Concat(a, n.Relu(n.conv(a, 8, 4)), axis=1)
    c = n.Relu(n.conv(n.Relu(n.batch_norm(b, 12)), 12, 4))
    y = n.AveragePool(n.Concat(b, c, axis=1), kernel_shape=[2, 2], strides=[2, 2])
    return n.Gemm(n.Flatten(y), n.weight(16 * 16, 5))


@motif("12 3 4 5")
def inception(n: Net) -> str:
    x = n.input("x", 3, 8, 8)
    pooled = n.MaxPool(x, kernel_shape=[3, 3], pads=[1] * 4)
    parts = n.conv(x, 3, 3, 1), n.conv(x, 3, 4), n.conv(pooled, 3, 5, 1)
    y = n.Concat(*map(n.Relu, parts), axis=1)
    return n.head(n.Mul(n.conv(y, 12, 12), n.Sigmoid(n.conv(y, 12, 12, 1))), 12)


@motif("4 6 8")
def inverted_bottleneck(n: Net) -> str:
    a = n.Clip(n.conv(n.input("x", 3, 8, 8), 3, 8, 1), *[n.scalar(v) for v in (0, 6)])
    b = n.Relu(n.batch_norm(n.conv(a, 8, 8, group=8), 8))
    s = n.Relu(n.conv(n.GlobalAveragePool(b), 8, 4, 1))
    b = n.Mul(b, n.HardSigmoid(n.conv(s, 4, 8, 1)))
    return n.head(n.conv(b, 8, 6, 1), 6)


@motif("8")
def depth_multiplier(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8, 1))
    return n.conv(n.Relu(n.conv(y, 8, 16, group=8)), 16, 4, 1)


@motif("2x4 2x6")
def grouped(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 12))
    y = n.Relu(n.batch_norm(n.conv(y, 12, 8, group=2), 8))
    return n.conv(y, 8, 4, 1)


@motif("3x4 3x4")
def grouped_residual(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 12))
    z = n.conv(n.Relu(n.conv(y, 12, 12, group=3)), 12, 12, 1)
    return n.conv(n.Add(y, z), 12, 4, 1)


def shuffle(n: Net, x: str, groups: int, size: int, area: int = 8) -> str:
    y = n.reshape(x, groups, size // groups, area, area)
    return n.reshape(n.Transpose(y, perm=[0, 2, 1, 3, 4]), size, area, area)


@motif("2x2 2x4 2x4")  # tied across groups, or the order would change
def shuffle_between_groups(n: Net) -> str:
    y = n.Relu(n.conv(n.conv(n.input("x", 3, 8, 8), 3, 8), 8, 8, 1, group=2))
    y = n.conv(shuffle(n, y, 2, 8), 8, 8, group=8)
    return n.conv(n.conv(y, 8, 8, 1, group=2), 8, 4, 1)


@motif("4")
def shuffle_of_channels(n: Net) -> str:
    return n.conv(shuffle(n, n.conv(n.input("x", 3, 8, 8), 3, 12), 3, 12), 12, 4, 1)


@motif("2 2 4 4 4")
def shuffle_after_split(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    a, b = n.split(y, [4, 4], 1)
    b = n.Relu(n.conv(n.conv(n.Relu(n.conv(b, 4, 4, 1)), 4, 4, group=4), 4, 4, 1))
    y = shuffle(n, n.Concat(a, b, axis=1), 2, 8)
    a, b = n.split(y, [4, 4], 1)
    y = n.Concat(a, n.Relu(n.conv(b, 4, 4, 1)), axis=1)
    return n.head(y, 8)


@motif("2x6 2x6 4")
def squeeze_excite_on_groups(n: Net) -> str:
    y = n.Relu(n.conv(n.conv(n.input("x", 3, 8, 8), 3, 12), 12, 12, group=2))
    s = n.Relu(n.conv(n.GlobalAveragePool(y), 12, 4, 1))
    return n.head(n.Mul(y, n.Sigmoid(n.conv(s, 4, 12, 1))), 12)


@motif("6 8")
def prelu(n: Net) -> str:
    y = n.PRelu(n.conv(n.input("x", 3, 8, 8), 3, 8), n.weight(8, 1, 1))
    return n.head(n.PRelu(n.conv(y, 8, 6), n.weight(1, scale=0.2)), 6)


@motif("2x3 2x3 8")
def transposed_convolution(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 8))
    y = n.Relu(n.conv(y, 8, 6, 2, stride=2, op="ConvTranspose"))
    y = n.Relu(n.conv(y, 6, 6, group=2, op="ConvTranspose"))
    return n.conv(y, 6, 4, op="ConvTranspose")


@motif("4 6")
def convolution_1d(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 16), 3, 6, dims=1))
    y = n.MaxPool(n.batch_norm(n.conv(y, 6, 6, dims=1, group=6), 6), kernel_shape=[2], strides=[2])
    return n.head(n.Tanh(n.conv(y, 6, 4, dims=1)), 4)


@motif("4 6")
def convolution_3d(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 2, 4, 4, 4), 2, 6, dims=3))
    y = n.AveragePool(y, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    return n.head(n.Relu(n.conv(y, 6, 4, dims=3)), 4)


@motif("2x3 2x3 3", opset=13)
def pixel_shuffles(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 12))
    y = n.conv(n.DepthToSpace(y, blocksize=2, mode="CRD"), 3, 24, 1)
    y = n.conv(n.DepthToSpace(n.Relu(y), blocksize=2, mode="DCR"), 6, 6, 1, group=2)
    return n.conv(n.SpaceToDepth(y, blocksize=2), 24, 4, 1)


@motif("3 5")
def pad_channels(n: Net) -> str:  # option A of the first ResNets
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 3))
    short = n.pad(n.slice(n.slice(y, 0, 8, 2, 2), 0, 8, 3, 2), 0, 2, 0, 0, 0, 3, 0, 0)
    return n.head(n.Add(short, n.conv(y, 3, 8, stride=2)), 8)


@motif("5 6 8")
def resize_and_pool(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 8))
    y = n.conv(n.LpPool(n.resize(y, 2), kernel_shape=[2, 2], strides=[2, 2]), 8, 6)
    y = n.conv(n.AveragePool(y, kernel_shape=[3, 3], pads=[1] * 4), 6, 5)
    y = n.Add(n.GlobalMaxPool(y), n.GlobalAveragePool(y))
    return n.Gemm(n.Flatten(y), n.weight(5, 4))


@motif("4 6 6", opset=13)
def feature_pyramid(n: Net) -> list[str]:
    a = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6))
    b = n.MaxPool(n.Relu(n.conv(a, 6, 4)), kernel_shape=[2, 2], strides=[2, 2])
    roof = n.conv(b, 4, 6, 1)
    up = n.Resize(roof, "", "", n.ints(n.batch, 6, 8, 8)) if n.batch == 2 else n.resize(roof, 2)
    y = n.Add(up, n.conv(a, 6, 6, 1))
    return [n.conv(roof, 6, 5), n.conv(y, 6, 5)]


@motif("2x4 6", "GroupNormalization", opset=21)
def group_norm(n: Net) -> str:
    y = n.Relu(n.group_norm(n.conv(n.input("x", 3, 4, 4), 3, 8), 8, 2, (4, 4)))
    return n.head(n.conv(y, 8, 6), 6)


@motif("2x4 6", "InstanceNormalization")
def group_norm_spelt_out(n: Net) -> str:
    y = n.Relu(n.group_norm(n.conv(n.input("x", 3, 4, 4), 3, 8), 8, 2, (4, 4)))
    return n.head(n.conv(y, 8, 6), 6)


@motif("6 8")
def instance_norm(n: Net) -> str:
    y = n.conv(n.input("x", 3, 4, 4), 3, 8)
    y = n.Relu(n.InstanceNormalization(y, n.positive(8), n.weight(8, scale=0.1)))
    return n.head(n.conv(y, 8, 6), 6)


@motif("6 8", "LRN", "ReduceMax", "ReduceMean")
def statistics_over_channels(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 8))
    if n.norms:
        y = n.LRN(y, size=3)
        mean, most = (n.reduce(op, y, 1) for op in ("ReduceMean", "ReduceMax"))
    else:
        mean, most = (n.reduce(op, y, 1) for op in ("ReduceSum", "ReduceL1"))
    y = n.Mul(y, n.Sigmoid(n.conv(n.Concat(mean, most, axis=1), 2, 1)))
    return n.head(n.Relu(n.conv(y, 8, 6)), 6)


@motif("4 8", opset=13)
def sums_over_channels(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 8))
    y = n.Div(y, n.Sqrt(n.Add(n.reduce("ReduceSumSquare", y, 1), n.scalar(1))))
    y = n.Relu(n.conv(y, 8, 4))
    return n.Concat(n.reduce("ReduceL1", y, 1), n.reduce("ReduceSum", n.Exp(y), 1), axis=1)


@motif("2 2 4 6", opset=7)  # with two that nobody reads, and two that nobody makes
def oldest_opset(n: Net) -> str:
    y = n.Relu(n.batch_norm(n.conv(n.input("x", 3, 8, 8), 3, 8), 8))
    y = n.Clip(n.slice(n.Upsample(y, scales=[1.0, 1.0, 2.0, 2.0]), 1, 7, 1), min=0.0, max=6.0)
    y = n.Dropout(n.Pad(n.conv(y, 6, 4), pads=[0, 0, 1, 1, 0, 2, 1, 1]))
    a, b = n.split(y, [4, 2], 1)
    return n.Concat(n.head(a, 4), n.head(b, 2), axis=1)


@motif("4 8")
def one_channel(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 1, 8, 8), 1, 8))
    y = n.conv(n.Relu(n.conv(n.Relu(n.conv(y, 8, 1)), 1, 4)), 4, 4, group=4)
    return n.Add(n.conv(y, 4, 1), n.const(np.ones((1, 1, 1), n.dtype)))
