"""Motifs whose convolutions have weights that the graph computes: banks, styles, norms."""

from __future__ import annotations

from tests.nets.motif import motif
from tests.nets.net import Net

SAME = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def routing(n: Net, y: str, size: int, experts: int = 3) -> str:
    """How much of each expert a sample gets, `[N, experts]`."""
    pooled = n.Flatten(n.GlobalAveragePool(y))
    return n.Sigmoid(n.linear(pooled, size, experts))


def stem(n: Net, size: int = 6) -> str:
    return n.Relu(n.conv(n.input("x", 3, 6, 6), 3, size))


def per_sample(n: Net, y: str, weight: str, read: int, make: int) -> str:
    """A convolution in which every sample has its own weight `[N * make, read, 3, 3]`."""
    batch = n.batch
    y = n.Reshape(y, n.ints(1, batch * read, 6, 6))
    y = n.Conv(y, weight, group=batch, **SAME)
    return n.Reshape(y, n.ints(batch, make, 6, 6))


def sums(n: Net, x: str, *axes: int) -> str:
    if n.opset < 13:
        return n.ReduceSum(x, axes=list(axes), keepdims=1)
    return n.ReduceSum(x, n.ints(*axes), keepdims=1)


def means(n: Net, x: str, *axes: int) -> str:
    if n.opset < 18:
        return n.ReduceMean(x, axes=list(axes))
    return n.ReduceMean(x, n.ints(*axes))


def end(n: Net, y: str, size: int) -> str:
    return n.head(n.Relu(n.conv(n.Relu(y), size, 4)), 4)


@motif("3 4 6 8", fixed=True)
def bank_of_experts(n: Net) -> str:  # every expert's weight lies flat in a row
    y = stem(n)
    weight = n.MatMul(routing(n, y, 6), n.weight(3, 8 * 6 * 9, scale=0.2))
    weight = n.Reshape(weight, n.ints(n.batch * 8, 6, 3, 3))
    return end(n, per_sample(n, y, weight, 6, 8), 8)


@motif("3 4 6 8", batch=1, fixed=True)
def bank_with_a_bias(n: Net) -> str:  # as a hypernetwork writes it, for one picture
    y = stem(n)
    bank = n.weight(8 * 6 * 9, 3, scale=0.2), n.weight(8 * 6 * 9, scale=0.2)
    weight = n.Gemm(routing(n, y, 6), *bank, transB=1)
    return end(n, n.Conv(y, n.Reshape(weight, n.ints(8, 6, 3, 3)), **SAME), 8)


@motif("3 4 6", batch=1, fixed=True)
def bank_for_depthwise(n: Net) -> str:  # a filter for each channel
    y = stem(n)
    weight = n.linear(routing(n, y, 6), 3, 6 * 9)
    return end(n, n.Conv(y, n.Reshape(weight, n.ints(6, 1, 3, 3)), group=6, **SAME), 6)


@motif("3 4 6 8", fixed=True)
def bank_of_whole_weights(n: Net) -> str:  # experts are scaled and added up
    y = stem(n)
    scale = n.Reshape(routing(n, y, 6), n.ints(n.batch, 3, 1, 1, 1, 1))
    weight = sums(n, n.Mul(scale, n.weight(3, 8, 6, 3, 3)), 1)
    return end(n, per_sample(n, y, n.Reshape(weight, n.ints(n.batch * 8, 6, 3, 3)), 6, 8), 8)


@motif("3 4 6 8", fixed=True)
def bank_by_einsum(n: Net) -> str:
    y = stem(n)
    bank = n.weight(3, 8, 6, 3, 3)
    weight = n.Einsum(routing(n, y, 6), bank, equation="ne,eoikl->noikl")
    return end(n, per_sample(n, y, n.Reshape(weight, n.ints(n.batch * 8, 6, 3, 3)), 6, 8), 8)


@motif("3 4 6 8", batch=1, fixed=True)
def bank_turned_round(n: Net) -> str:  # inputs come first where it lies flat
    y = stem(n)
    weight = n.MatMul(routing(n, y, 6), n.weight(3, 6 * 9 * 8, scale=0.2))
    weight = n.Transpose(n.Reshape(weight, n.ints(6, 3, 3, 8)), perm=[3, 0, 1, 2])
    return end(n, n.Conv(y, weight, **SAME), 8)


@motif("3 4 6 8", batch=1, fixed=True)
def bank_of_length_one(n: Net) -> str:  # each filter is divided by its length
    y = stem(n)
    weight = n.MatMul(routing(n, y, 6), n.weight(3, 8 * 6 * 9, scale=0.2))
    weight = n.Reshape(weight, n.ints(8, 6, 3, 3))
    length = n.Sqrt(n.Add(sums(n, n.Mul(weight, weight), 1, 2, 3), n.scalar(1e-4)))
    weight = n.Mul(n.Div(weight, length), n.weight(8, 1, 1, 1, shift=1.0))
    return end(n, n.Conv(y, weight, **SAME), 8)


@motif("3 4 6 8", "ReduceMean", "ReduceMean", batch=1, fixed=True)
def bank_standardised(n: Net) -> str:  # each filter has mean 0 and variance 1
    y = stem(n)
    weight = n.MatMul(routing(n, y, 6), n.weight(3, 8 * 6 * 9, scale=0.2))
    weight = n.Reshape(weight, n.ints(8, 6, 3, 3))
    if n.norms:
        weight = n.Sub(weight, means(n, weight, 1, 2, 3))
        power = means(n, n.Mul(weight, weight), 1, 2, 3)
        weight = n.Div(weight, n.Sqrt(n.Add(power, n.scalar(1e-4))))
    return end(n, n.Conv(y, weight, **SAME), 8)


@motif("3 4 6 8", batch=1, fixed=True)
def bank_by_spectral_norm(n: Net) -> str:  # all filters are divided by one number
    y = stem(n)
    weight = n.MatMul(routing(n, y, 6), n.weight(3, 8 * 6 * 9, scale=0.2))
    flat = n.Reshape(weight, n.ints(8, 54))
    sigma = n.MatMul(n.MatMul(n.weight(1, 8), flat), n.weight(54, 1))
    weight = n.Div(n.Reshape(flat, n.ints(8, 6, 3, 3)), n.Add(n.Abs(sigma), n.scalar(1.0)))
    return end(n, n.Conv(y, weight, **SAME), 8)


@motif("3 4 4 6", batch=1, fixed=True)
def low_rank_weight(n: Net) -> str:  # a thin matrix times another; what it makes stays whole
    y = stem(n)
    thin = n.MatMul(routing(n, y, 6), n.weight(3, 8 * 4, scale=0.3))
    weight = n.MatMul(n.Reshape(thin, n.ints(8, 4)), n.weight(4, 6 * 9, scale=0.2))
    return end(n, n.Conv(y, n.Reshape(weight, n.ints(8, 6, 3, 3)), **SAME), 8)


@motif("3 4 5 6 8", batch=1, fixed=True)
def weight_that_is_decomposed(n: Net) -> str:  # one that is stored, and factors with scales between
    y = stem(n)
    scale = n.linear(routing(n, y, 6), 3, 5)
    weight = n.MatMul(n.Mul(n.weight(8, 5), scale), n.weight(5, 6, scale=0.3))
    weight = n.Reshape(n.Add(n.weight(8, 6), weight), n.ints(8, 6, 1, 1))
    return end(n, n.Conv(y, weight), 8)


def modulated(n: Net, norm: bool) -> str:
    y = stem(n)
    style = n.linear(n.Relu(n.linear(n.input("z", 5), 5, 7)), 7, 6)
    style = n.Reshape(style, n.ints(n.batch, 1, 6, 1, 1))
    weight = n.Mul(n.weight(1, 8, 6, 3, 3, scale=0.2), style)
    if norm:
        power = n.Add(sums(n, n.Mul(weight, weight), 2, 3, 4), n.scalar(1e-4))
        weight = n.Mul(weight, n.Reciprocal(n.Sqrt(power)))
    return end(n, per_sample(n, y, n.Reshape(weight, n.ints(n.batch * 8, 6, 3, 3)), 6, 8), 8)


@motif("4 6 7 8", fixed=True)
def modulated_weight(n: Net) -> str:  # a style scales what is read
    return modulated(n, norm=False)


@motif("4 6 7 8", fixed=True)
def demodulated_weight(n: Net) -> str:  # and what is made has length 1
    return modulated(n, norm=True)


@motif("4 6 7 8", fixed=True)
def modulated_upsampling(n: Net) -> str:  # transposed, so that inputs come first
    y = stem(n)
    style = n.Relu(n.linear(n.input("z", 5), 5, 7))
    style = n.Reshape(n.linear(style, 7, 6), n.ints(n.batch, 6, 1, 1, 1))
    weight = n.Mul(n.weight(1, 6, 8, 3, 3, scale=0.2), style)
    y = n.Reshape(y, n.ints(1, n.batch * 6, 6, 6))
    y = n.ConvTranspose(y, n.Reshape(weight, n.ints(n.batch * 6, 8, 3, 3)), group=n.batch, **SAME)
    return end(n, n.Reshape(y, n.ints(n.batch, 8, 6, 6)), 8)


@motif("4 8")
def weights_of_a_linear_layer(n: Net) -> str:  # cut along the longer axis
    y = n.Relu(n.linear(n.input("x", 10), 10, 6))
    code = n.Tanh(n.linear(n.input("z", 5, batched=False), 5, 4))
    weight = n.Reshape(n.linear(code, 4, 6 * 8), n.ints(6, 8))
    return n.linear(n.Relu(n.MatMul(y, weight)), 8, 5)
