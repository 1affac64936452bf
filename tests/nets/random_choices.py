"""Steps in which data choose: which tokens, which places, which weights; over any sizes."""

from __future__ import annotations

import numpy as np

from tests.nets.random_areas import area_of
from tests.nets.random_lengths import Feature, Lengths

Made = Feature | list[Feature] | None
EXPERTS = 3


def few(m: Lengths, most: int = 3) -> str:
    """A small number of tokens, where there are so many."""
    return m.net.Min(m.tokens, m.net.ints(most))


def score(m: Lengths, x: Feature) -> str:
    """One number per token, or per place."""
    return m.mapped(x, 1).name


# --- tokens -------------------------------------------------------------------------------------


def scattered_elements(m: Lengths, x: Feature) -> Made:
    """The best tokens are replaced, at an index that is expanded along the channels."""
    net = m.net
    count = m.pick(net.ints(1), few(m))
    _, index = net.TopK(score(m, x), count, axis=1, outs=2)
    index = net.Expand(index, net.ints(1, 1, x.size))
    new = net.Tanh(net.GatherElements(m.matched(x).name, index, axis=1))
    more = {"reduction": "add"} if net.opset >= 16 and m.chance(0.4) else {}
    return Feature(net.ScatterElements(x.name, index, new, axis=1, **more), x.size, x.area)


def written_at_a_position(m: Lengths, x: Feature) -> Made:
    """The last token is written over, at a position that the length says."""
    net = m.net
    last = net.Sub(m.tokens, net.ints(1))
    transposed = net.Transpose(x.name, perm=[1, 0, 2])
    new = net.Gather(net.Transpose(m.matched(x).name, perm=[1, 0, 2]), last)
    made = net.ScatterND(transposed, net.unsqueeze(last, 0), net.Sigmoid(new))
    return Feature(net.Transpose(made, perm=[1, 0, 2]), x.size, x.area)


def neighbours_suppressed(m: Lengths, x: Feature) -> Made:
    """Tokens whose score is the largest among its neighbours stay, others become zeros."""
    net = m.net
    transposed = net.Transpose(score(m, x), perm=[0, 2, 1])
    most = net.MaxPool(transposed, kernel_shape=[3], pads=[1, 1])
    kept = net.Cast(net.Equal(transposed, most), to=1)
    return Feature(net.Mul(x.name, net.Transpose(kept, perm=[0, 2, 1])), x.size, x.area)


def above_the_mean(m: Lengths, x: Feature) -> Made:
    """Tokens that score better than all do on average."""
    net, found = m.net, score(m, x)
    better = net.Greater(found, net.reduce("ReduceMean", found, 1))
    return Feature(net.Where(better, x.name, net.Neg(m.matched(x).name)), x.size, x.area)


def picked_by_one_hot(m: Lengths, x: Feature) -> Made:
    """The token that scores worst, multiplied out of all, added to each."""
    net = m.net
    place = net.ArgMin(score(m, x), axis=1, keepdims=0)
    hot = net.OneHot(place, m.tokens, net.const(np.array([0, 1], np.float32)))
    return Feature(net.Add(x.name, net.MatMul(hot, x.name)), x.size, x.area)


def summed_best(m: Lengths, x: Feature) -> Made:
    """The sum of the few largest numbers of each channel."""
    net = m.net
    values, _ = net.TopK(x.name, few(m), axis=1, outs=2)
    return Feature(net.Sub(x.name, net.reduce("ReduceSum", values, 1)), x.size, x.area)


def scores_of_experts(m: Lengths, x: Feature) -> str:
    """`[N, EXPERTS]`, from what all tokens show."""
    seen = m.net.reduce("ReduceMax", x.name, 1, keep=False)
    return m.net.linear(seen, x.size, EXPERTS)


def expert_picked(m: Lengths, x: Feature) -> Made:
    """Each sample is multiplied by one of several matrices."""
    net, size = m.net, m.pick(4, 6, x.size)
    best = net.ArgMax(scores_of_experts(m, x), axis=1, keepdims=0)
    matrices = net.weight(EXPERTS, x.size, size, scale=x.size**-0.5)
    return Feature(net.MatMul(x.name, net.Gather(matrices, best)), size, x.area)


def experts_mixed(m: Lengths, x: Feature) -> Made:
    """Each sample has a matrix of its own, a mixture of several."""
    net, size = m.net, m.pick(4, 6, x.size)
    shares = net.Sigmoid(scores_of_experts(m, x))
    matrices = net.weight(EXPERTS, x.size * size, scale=x.size**-0.5)
    mixed = net.Reshape(net.MatMul(shares, matrices), net.ints(-1, x.size, size))
    return Feature(net.MatMul(x.name, mixed), size, x.area)


def modulated(m: Lengths, x: Feature) -> Made:
    """A stored matrix, of which each sample scales the rows."""
    net, size = m.net, m.pick(4, 6, x.size)
    seen = net.reduce("ReduceMean", x.name, 1, keep=False)
    style = net.unsqueeze(net.Sigmoid(net.linear(seen, x.size, x.size)), 2)
    matrix = net.Mul(net.weight(1, x.size, size, scale=x.size**-0.5), style)
    return Feature(net.MatMul(x.name, matrix), size, x.area)


# --- images -------------------------------------------------------------------------------------


def peaks(m: Lengths, x: Feature) -> Made:
    """Places whose score is the largest around them."""
    net, found = m.net, score(m, x)
    most = net.MaxPool(found, kernel_shape=[3, 3], pads=[1] * 4)
    return Feature(net.Mul(x.name, net.Cast(net.Equal(found, most), to=1)), x.size, x.area)


def place_replaced(m: Lengths, x: Feature) -> Made:
    """The place with the best score is replaced in all channels."""
    net = m.net
    flat = net.Reshape(x.name, net.ints(0, 0, -1))
    _, index = net.TopK(net.Reshape(score(m, x), net.ints(0, 1, -1)), net.ints(1), axis=2, outs=2)
    index = net.Expand(index, net.ints(1, x.size, 1))
    other = net.Reshape(m.matched(x).name, net.ints(0, 0, -1))
    new = net.Tanh(net.GatherElements(other, index, axis=2))
    flat = net.ScatterElements(flat, index, new, axis=2)
    return Feature(m.flat(flat, m.size_of(x.name, 0), x.size, *area_of(m, x)), x.size, x.area)


def picked_kernel(m: Lengths, x: Feature) -> Made:
    """One of several kernels, by what the whole batch shows."""
    net, size = m.net, m.pick(4, 6)
    seen = net.reduce("ReduceMax", net.Flatten(net.GlobalAveragePool(x.name)), 0, keep=False)
    scores = net.linear(net.unsqueeze(seen, 0), x.size, EXPERTS)
    best = net.Squeeze(net.ArgMax(scores, axis=1, keepdims=0), net.ints(0))
    bank = net.weight(EXPERTS, size, x.size, 3, 3, scale=(3 * x.size) ** -0.5)
    return Feature(net.Conv(x.name, net.Gather(bank, best), pads=[1] * 4), size, x.area)


def summed_kernel(m: Lengths, x: Feature) -> Made:
    """Several kernels, weighed and summed."""
    net, size = m.net, m.pick(4, 6)
    seen = net.reduce("ReduceMean", net.Flatten(net.GlobalAveragePool(x.name)), 0)
    shares = net.Reshape(net.linear(seen, x.size, EXPERTS), net.ints(EXPERTS, 1, 1, 1, 1))
    bank = net.weight(EXPERTS, size, x.size, 3, 3, scale=(3 * x.size) ** -0.5)
    kernel = net.reduce("ReduceSum", net.Mul(bank, net.Tanh(shares)), 0, keep=False)
    return Feature(net.Conv(x.name, kernel, pads=[1] * 4), size, x.area)


TOKENS = [
    scattered_elements, written_at_a_position, neighbours_suppressed, above_the_mean,
    picked_by_one_hot, summed_best, expert_picked, experts_mixed, modulated,
]  # fmt: skip
IMAGES = [peaks, place_replaced, picked_kernel, summed_kernel]
