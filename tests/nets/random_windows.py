"""Steps that cut tokens and images of any size into windows, shift them, and join them again."""

from __future__ import annotations

import numpy as np

from tests.nets import random_positions as positions
from tests.nets.random_areas import area_of
from tests.nets.random_lengths import Feature, Lengths

Made = Feature | list[Feature] | None
SMALL = (3, 5, 7)
"""Rows of tables that are shorter than most inputs."""


def filled(m: Lengths, x: Feature, size: int) -> tuple[str, str]:
    """Tokens with zeros behind them up to a whole number of windows, and how many windows."""
    net = m.net
    count = net.Div(net.Add(m.tokens, net.ints(size - 1)), net.ints(size))
    missing = net.Sub(net.Mul(count, net.ints(size)), m.tokens)
    pads = net.Concat(net.ints(0, 0, 0, 0), missing, net.ints(0), axis=0)
    return net.Pad(x.name, pads), count


def cropped(m: Lengths, y: str) -> str:
    """As many tokens as came in."""
    return m.net.Slice(y, m.net.ints(0), m.tokens, m.net.ints(1))


def windows(m: Lengths, x: Feature) -> Made:
    """Tokens of a window look at each other; windows become part of the batch."""
    net, length = m.net, m.pick(2, 3, 4)
    y, count = filled(m, x, length)
    many = m.pick(-1, net.Mul(m.size_of("x", 0), count))
    inner = Feature(m.flat(y, many, length, x.size), x.size, x.area)
    (q, k, v), heads, width = positions.projected(m, inner)
    y = positions.joined(m, inner, positions.attended(m, q, k, v), heads * width).name
    whole = m.flat(y, m.size_of("x", 0), net.Mul(count, net.ints(length)), x.size)
    return Feature(cropped(m, whole), x.size, x.area)


def merged_and_apart(m: Lengths, x: Feature) -> Made:
    """Pairs of tokens become one of twice the channels; a layer; and each of them two again."""
    net, size = m.net, m.pick(4, 6)
    y, count = filled(m, x, 2)
    y = m.flat(y, m.size_of("x", 0), count, 2 * x.size)
    y = net.linear(net.Tanh(net.linear(y, 2 * x.size, size)), size, 2 * x.size)
    y = m.flat(y, m.size_of("x", 0), net.Mul(count, net.ints(2)), x.size)
    return Feature(net.Add(x.name, cropped(m, y)), x.size, x.area)


def rolled(m: Lengths, x: Feature) -> Made:
    """The first tokens go behind the last ones."""
    net = m.net
    start = m.pick(net.ints(1), net.Div(m.tokens, net.ints(2)))
    tail = net.Slice(x.name, start, m.tokens, net.ints(1))
    y = net.Concat(tail, net.Slice(x.name, net.ints(0), start, net.ints(1)), axis=1)
    return Feature(net.Mul(net.Tanh(y), m.matched(x).name), x.size, x.area)


def beams(m: Lengths, x: Feature) -> Made:
    """Every sample twice in the batch, told apart by a bias, and their sum."""
    net = m.net
    both = net.Add(net.unsqueeze(x.name, 1), net.weight(2, 1, x.size, scale=1.0))
    many = m.pick(-1, net.Mul(m.size_of("x", 0), net.ints(2)))
    y = m.mapped(Feature(m.flat(both, many, m.tokens, x.size), x.size, x.area), x.size).name
    y = m.flat(net.Tanh(y), m.pick(-1, m.size_of("x", 0)), 2, m.tokens, x.size)
    return Feature(net.reduce("ReduceSum", y, 1, keep=False), x.size, x.area)


def small_table(m: Lengths, x: Feature) -> Made:
    """A table with few rows: the last one again, or all of them in turn."""
    net, size = m.net, m.pick(*SMALL)
    behind = m.chance(0.4)
    places = positions.numbers(m, *positions.bounds(m, behind))
    if m.chance(0.5):
        places = net.Min(places, net.const(np.int64(size - 1)))
    else:
        places = net.Mod(places, net.const(np.int64(size)))
    found = net.Gather(net.weight(size, x.size, scale=1.0), places)
    return Feature(net.Add(x.name, found), x.size, x.area)


def counted_by_sum(m: Lengths, x: Feature) -> Made:
    """Positions are a running sum of ones; the rows are found one by one."""
    net = m.net
    one = net.Expand(net.const(np.int64(1)), m.tokens)
    places = net.Sub(net.CumSum(one, net.const(np.int64(0))), net.ints(1))
    table = net.weight(m.rows, x.size, scale=1.0)
    found = net.GatherND(table, net.unsqueeze(places, 1))
    return Feature(net.Add(x.name, found), x.size, x.area)


def attention_shifted(m: Lengths, x: Feature) -> Made:
    """A score per distance, shifted row by row through a reshape."""
    net, (q, k, v), heads, width = m.net, *positions.projected(m, x)
    table = positions.rows(m, net.weight(m.rows, width, scale=0.5), False)
    far = net.MatMul(q, net.Transpose(table, perm=[1, 0]))
    far = net.Pad(far, net.ints(0, 0, 0, 1, 0, 0, 0, 0))
    more = net.Add(m.tokens, net.ints(1))
    far = m.flat(far, m.size_of("x", 0), heads, more, m.tokens)
    far = net.Slice(far, net.ints(1), more, net.ints(2))
    return positions.joined(m, x, positions.attended(m, q, k, v, far), heads * width)


def convolution_behind_memory(m: Lengths, x: Feature) -> Made:
    """A convolution that sees the end of the memory; what it made of the tokens is handed on."""
    net, size = m.net, m.pick(4, 6, x.size)
    both = net.Concat(net.linear(m.memory, 6, x.size), x.name, axis=1)
    both = net.Transpose(net.Pad(both, net.ints(0, 2, 0, 0, 0, 0)), perm=[0, 2, 1])
    y = net.Conv(both, net.weight(size, x.size, 3))
    y = net.Transpose(y, perm=[0, 2, 1])
    start, end = positions.bounds(m, True)
    return Feature(net.Slice(y, start, end, net.ints(1)), size, x.area)


def windows_of_places(m: Lengths, x: Feature) -> Made:
    """Squares of two by two places, a layer over each of them, after a shift or without one."""
    net, (height, width) = m.net, area_of(m, x)
    y = shifted_down(m, x.name, height) if m.chance(0.5) else x.name
    rows, columns = (net.Div(net.Add(s, net.ints(1)), net.ints(2)) for s in (height, width))
    down, right = (
        net.Sub(net.Mul(half, net.ints(2)), s) for half, s in ((rows, height), (columns, width))
    )
    y = net.Pad(y, net.Concat(net.ints(0, 0, 0, 0, 0, 0), down, right, axis=0))
    y = m.flat(y, m.size_of(x.name, 0), x.size, rows, 2, columns, 2)
    y = net.Transpose(y, perm=[0, 2, 4, 3, 5, 1])
    many = m.pick(-1, net.Mul(net.Mul(m.size_of(x.name, 0), rows), columns))
    y = net.Tanh(net.linear(m.flat(y, many, 4, x.size), x.size, x.size))
    y = net.Add(y, net.weight(4, x.size, scale=0.5))
    y = m.flat(y, m.size_of(x.name, 0), rows, columns, 2, 2, x.size)
    y = net.Transpose(y, perm=[0, 5, 1, 3, 2, 4])
    whole = (net.Mul(half, net.ints(2)) for half in (rows, columns))
    y = m.flat(y, m.size_of(x.name, 0), x.size, *whole)
    y = net.Slice(y, net.ints(0, 0), net.Concat(height, width, axis=0), net.ints(2, 3))
    return Feature(net.Add(x.name, y), x.size, x.area)


def shifted_down(m: Lengths, y: str, height: str) -> str:
    """The first row behind the last one."""
    net = m.net
    rest = net.Slice(y, net.ints(1), height, net.ints(2))
    return net.Concat(rest, net.slice(y, 0, 1, 2), axis=2)


def rolled_down(m: Lengths, x: Feature) -> Made:
    y = shifted_down(m, x.name, area_of(m, x)[0])
    return Feature(m.net.Add(y, m.matched(x).name), x.size, x.area)


def counted_rows(m: Lengths, x: Feature) -> Made:
    """A small table, looked up by a running sum over the height that ends at its last row."""
    net, size = m.net, m.pick(*SMALL)
    one = net.Expand(net.const(np.int64(1)), area_of(m, x)[0])
    places = net.Sub(net.CumSum(one, net.const(np.int64(0))), net.ints(1))
    places = net.Min(places, net.const(np.int64(size - 1)))
    found = net.Transpose(net.Gather(net.weight(size, x.size, scale=1.0), places), perm=[1, 0])
    return Feature(net.Add(x.name, net.unsqueeze(found, 2)), x.size, x.area)


TOKENS = [
    windows, merged_and_apart, rolled, beams, small_table, counted_by_sum, attention_shifted,
    convolution_behind_memory,
]  # fmt: skip
IMAGES = [windows_of_places, rolled_down, counted_rows]
