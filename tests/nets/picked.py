"""Motifs that pick or write single elements: the index says, for every channel, from where."""

from __future__ import annotations

import numpy as np

from tests.nets.motif import motif
from tests.nets.net import Net


def stream(n: Net, size: int = 12) -> str:
    return n.linear(n.input("x", 6, 10), 10, size)


def best(n: Net, count: int = 3) -> str:
    """The rows `[N, count, 1]` that another input is largest in."""
    _, where = n.TopK(n.input("s", 6), n.ints(count), axis=1, outs=2)
    return n.Unsqueeze(where, n.ints(2))


@motif("12 6", opset=13)
def rows_picked_by_an_expanded_index(n: Net) -> str:
    y = n.GatherElements(n.Relu(stream(n)), n.Expand(best(n), n.ints(1, 1, 12)), axis=1)
    return n.linear(n.Relu(n.linear(y, 12, 6)), 6, 5)


@motif("12 4", opset=13)
def rows_picked_by_a_tiled_index(n: Net) -> str:  # and another width beside it
    y, where = n.Relu(stream(n)), best(n)
    z = n.GatherElements(n.linear(y, 12, 4), n.Tile(where, n.ints(1, 1, 4)), axis=1)
    y = n.GatherElements(y, n.Tile(where, n.ints(1, 1, 12)), axis=1)
    return n.Concat(n.linear(y, 12, 5), n.linear(z, 4, 5), axis=2)


@motif("12", opset=13)
def every_channel_picks_its_own(n: Net) -> str:
    y = n.Relu(stream(n))
    where = n.Expand(best(n), n.ints(1, 1, 12))
    where = n.Mod(n.Add(where, n.const(np.arange(12).reshape(1, 1, 12))), n.const(np.int64(6)))
    return n.linear(n.GatherElements(y, where, axis=1), 12, 5)


@motif("12", opset=13, batch=2, fixed=True)
def picked_by_a_stored_index(n: Net) -> str:
    where = n.const(np.arange(2 * 3 * 12).reshape(2, 3, 12) * 5 % 6)
    return n.linear(n.GatherElements(n.Relu(stream(n)), where, axis=1), 12, 5)


@motif("4", opset=13)
def picked_by_an_index_that_is_given(n: Net) -> str:  # its width is public
    where = n.input("i", 3, 12, dtype=np.int64)
    where = n.Mod(where, n.const(np.int64(6)))
    y = n.GatherElements(n.Relu(stream(n)), where, axis=1)
    return n.linear(n.linear(y, 12, 4), 4, 5)


@motif("3 5", opset=13)
def channels_picked_by_number(n: Net) -> str:
    where = n.Expand(best(n), n.ints(1, 1, 3))
    y = n.GatherElements(n.Relu(stream(n)), where, axis=2)
    return n.linear(n.linear(y, 3, 5), 5, 5)


@motif("4 8", opset=13)
def fewer_channels_than_there_are(n: Net) -> str:  # the index is shorter: the first eight
    y = n.Relu(stream(n))
    z = n.GatherElements(y, n.Expand(best(n), n.ints(1, 1, 8)), axis=1)
    return n.Concat(n.linear(z, 8, 5), n.linear(y, 12, 5), axis=1)


@motif("12", opset=13)
def rows_written_by_an_expanded_index(n: Net) -> str:
    y, where = n.Relu(stream(n)), n.Expand(best(n), n.ints(1, 1, 12))
    new = n.linear(n.input("z", 3, 10), 10, 12)
    return n.linear(n.ScatterElements(y, where, new, axis=1), 12, 5)


@motif("12", opset=18)
def rows_added_by_an_expanded_index(n: Net) -> str:
    y, where = n.Relu(stream(n)), n.Expand(best(n), n.ints(1, 1, 12))
    new = n.linear(n.input("z", 3, 10), 10, 12)
    return n.linear(n.ScatterElements(y, where, new, axis=1, reduction="add"), 12, 5)


@motif("5", opset=18)
def written_into_channels_by_number(n: Net) -> str:
    where, new = n.Expand(best(n), n.ints(1, 1, 3)), n.linear(n.input("z", 3, 10), 10, 3)
    y = n.ScatterElements(n.Relu(stream(n)), where, new, axis=2, reduction="add")
    return n.linear(n.linear(y, 12, 5), 5, 5)
