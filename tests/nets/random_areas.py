"""Steps over images of any height and width."""

from __future__ import annotations

import numpy as np

from tests.nets.random_lengths import Feature, Lengths

Made = Feature | list[Feature] | None
LONGEST = 12


def area_of(m: Lengths, x: Feature) -> tuple[str, str]:
    return m.size_of(x.name, 2), m.size_of(x.name, 3)


def table_of_places(m: Lengths, x: Feature) -> Made:
    """A stored picture, cropped to the input."""
    net, (height, width) = m.net, area_of(m, x)
    table = net.weight(1, x.size, LONGEST, LONGEST, scale=1.0)
    if m.chance(0.5):
        ends = net.Concat(height, width, axis=0)
        table = net.Slice(table, net.ints(0, 0), ends, net.ints(2, 3))
    else:
        for axis, end in ((2, height), (3, width)):
            table = net.Slice(table, net.ints(0), end, net.ints(axis))
    return Feature(net.Add(x.name, table), x.size, x.area)


def tables_of_rows_and_columns(m: Lengths, x: Feature) -> Made:
    """A table per direction, looked up by the numbers of rows and columns."""
    net, y = m.net, x.name
    for axis, length in zip((2, 3), area_of(m, x), strict=True):
        end = net.Squeeze(length, net.ints(0))
        places = net.Range(net.const(np.int64(0)), end, net.const(np.int64(1)))
        found = net.Gather(net.weight(LONGEST, x.size, scale=1.0), places)
        found = net.Unsqueeze(net.Transpose(found, perm=[1, 0]), net.ints(5 - axis - 1))
        y = net.Add(y, found)
    return Feature(y, x.size, x.area)


def resized_table(m: Lengths, x: Feature) -> Made:
    """A stored picture, stretched to the input."""
    net, way = m.net, m.pick("nearest", "linear")
    sizes = net.Concat(net.ints(1, x.size), *area_of(m, x), axis=0)
    table = net.Resize(net.weight(1, x.size, 4, 4, scale=1.0), "", "", sizes, mode=way)
    return Feature(net.Add(x.name, table), x.size, x.area)


def down_and_up(m: Lengths, x: Feature) -> Made:
    """Half as large, a layer, and as large as before; joined with what was there."""
    net, size = m.net, m.pick(4, 6)
    y = net.MaxPool(x.name, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    y = net.Relu(net.conv(y, x.size, size, stride=1))
    sizes = net.Concat(net.slice(net.Shape(y), 0, 2, 0), *area_of(m, x), axis=0)
    y = net.Resize(y, "", "", sizes, mode="nearest")
    if m.chance(0.5) and x.size <= 24:
        return Feature(net.Concat(x.name, y, axis=1), x.size + size, x.area)
    return Feature(net.Add(x.name, net.conv(y, size, x.size, 1)), x.size, x.area)


def as_tokens(m: Lengths, x: Feature) -> Made:
    """Places in one axis, a layer over each of them, and back to height and width."""
    net, size = m.net, m.pick(4, 6, 8)
    y = net.Transpose(net.Reshape(x.name, net.ints(0, 0, -1)), perm=[0, 2, 1])
    y = net.Transpose(net.Tanh(net.linear(y, x.size, size)), perm=[0, 2, 1])
    return Feature(m.flat(y, m.size_of(x.name, 0), size, *area_of(m, x)), size, x.area)


def attention_of_places(m: Lengths, x: Feature) -> Made:
    """Every place looks at all; heads become part of the batch."""
    net, (heads, width) = m.net, m.pick((2, 3), (1, 4), (2, 4))
    area = net.Mul(*area_of(m, x))
    q, k, v = (
        m.flat(net.conv(x.name, x.size, heads * width, 1), -1, width, area) for _ in range(3)
    )
    scores = net.Softmax(net.MatMul(net.Transpose(q, perm=[0, 2, 1]), k), axis=-1)
    mixed = net.MatMul(v, net.Transpose(scores, perm=[0, 2, 1]))
    y = m.flat(mixed, m.size_of(x.name, 0), heads * width, *area_of(m, x))
    return Feature(net.Add(x.name, net.conv(y, heads * width, x.size, 1)), x.size, x.area)


def groups_in_batches(m: Lengths, x: Feature) -> Made:
    """Groups of channels are images of their own for a while."""
    group = m.divisor(x.size)
    y = m.flat(x.name, -1, x.size // group, *area_of(m, x))
    y = m.net.Relu(m.net.conv(y, x.size // group, x.size // group))
    y = m.flat(y, m.size_of(x.name, 0), x.size, *area_of(m, x))
    return Feature(y, x.size, x.area)


def coordinates(m: Lengths, x: Feature) -> Made:
    """The number of the column as one more channel."""
    net, width = m.net, m.size_of(x.name, 3)
    end = net.Squeeze(width, net.ints(0))
    places = net.Cast(net.Range(net.const(np.int64(0)), end, net.const(np.int64(1))), to=1)
    places = net.Div(places, net.Cast(width, to=1))
    one = net.Expand(
        places,
        net.Concat(m.size_of(x.name, 0), net.ints(1), m.size_of(x.name, 2), net.ints(1), axis=0),
    )
    if x.size > 30:
        return None
    return Feature(net.Concat(x.name, one, axis=1), x.size + 1, x.area)


def means_of_rows(m: Lengths, x: Feature) -> Made:
    y = m.net.reduce(m.pick("ReduceMean", "ReduceMax"), x.name, m.pick(2, 3))
    return Feature(m.net.Mul(x.name, m.net.Sigmoid(y)), x.size, x.area)


def padded_to_even(m: Lengths, x: Feature) -> Made:
    """Filled up to an even height, halves on top of one another, and cropped again."""
    net, (height, width) = m.net, area_of(m, x)
    missing = net.Mod(height, net.ints(2))
    pads = net.Concat(net.ints(0, 0, 0, 0, 0, 0), missing, net.ints(0), axis=0)
    y = net.Pad(x.name, pads)
    half = net.Div(net.Add(height, missing), net.ints(2))
    y = m.flat(y, m.size_of(x.name, 0), x.size, half, 2, width)
    y = net.Add(y, net.reduce("ReduceMax", y, 3))
    y = m.flat(y, m.size_of(x.name, 0), x.size, net.Mul(half, net.ints(2)), width)
    return Feature(net.Slice(y, net.ints(0), height, net.ints(2)), x.size, x.area)


def best_place(m: Lengths, x: Feature) -> Made:
    """The place of each image with the best score, looked up in all its channels."""
    net = m.net
    y = net.Reshape(x.name, net.ints(0, 0, -1))
    score = net.Reshape(m.mapped(x, 1).name, net.ints(0, 1, -1))
    _, index = net.TopK(score, net.ints(1), axis=2, outs=2)
    y = net.GatherElements(y, net.Expand(index, net.ints(1, x.size, 1)), axis=2)
    return Feature(net.Add(x.name, net.unsqueeze(y, 3)), x.size, x.area)


def computed_kernel(m: Lengths, x: Feature) -> Made:
    """A convolution with weights mixed from a bank, by what the whole batch shows."""
    net, size, kinds = m.net, m.pick(4, 6), 3
    seen = net.reduce("ReduceMean", net.Flatten(net.GlobalAveragePool(x.name)), 0)
    scores = net.Sigmoid(net.linear(seen, x.size, kinds))
    bank = net.weight(kinds, size * x.size * 9, scale=(3 * x.size) ** -0.5)
    weight = net.Reshape(net.MatMul(scores, bank), net.ints(size, x.size, 3, 3))
    return Feature(net.Conv(x.name, weight, pads=[1] * 4), size, x.area)


def scaled_by_default(m: Lengths, x: Feature) -> Made:
    shape = m.pick((1,), (x.size, 1, 1))
    return Feature(m.net.Mul(x.name, m.default(*shape)), x.size, x.area)


OWN = [
    table_of_places, tables_of_rows_and_columns, resized_table, down_and_up, as_tokens,
    attention_of_places, groups_in_batches, coordinates, means_of_rows, padded_to_even, best_place,
    computed_kernel, scaled_by_default,
]  # fmt: skip
