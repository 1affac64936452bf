"""Steps with inputs of their own: positions, masks, offsets and tables that a caller may give."""

from __future__ import annotations

import numpy as np

from tests.nets import random_positions as positions
from tests.nets.random_lengths import HEIGHT, TOKENS, WIDTH, Feature, Lengths

Made = Feature | list[Feature] | None
OFFSET = 3
"""The largest offset that is given."""


def positions_given(m: Lengths, x: Feature) -> Made:
    """Rows of a table by an input, of whole numbers or of floats that are cast."""
    net = m.net
    if m.chance(0.3):
        ids = net.Cast(net.Floor(net.Abs(m.given("floats", TOKENS))), to=7)
        ids = net.Min(ids, net.const(np.int64(m.rows - 1)))
    else:
        ids = m.given("ids", TOKENS, below=m.rows)
    return Feature(net.Add(x.name, net.Gather(net.weight(m.rows, x.size), ids)), x.size, x.area)


def positions_of_a_mask(m: Lengths, x: Feature) -> Made:
    """Tokens that count are numbered, all others have number zero."""
    net = m.net
    seen = m.given("seen", TOKENS, below=2)
    places = net.Mul(net.CumSum(seen, net.const(np.int64(1))), seen)
    found = net.Gather(net.weight(m.rows, x.size, scale=1.0), places)
    return Feature(net.Add(x.name, found), x.size, x.area)


def attention_masked(m: Lengths, x: Feature) -> Made:
    """Some tokens are seen by none, and none sees those behind it."""
    net, (q, k, v), heads, width = m.net, *positions.projected(m, x)
    hidden = net.Sub(net.scalar(1), net.Cast(m.given("seen", TOKENS, below=2), to=1))
    mask = net.unsqueeze(net.unsqueeze(net.Mul(hidden, net.scalar(-30)), 1), 1)
    if m.chance(0.5):
        mask = net.Add(mask, positions.causal(m, False))
    return positions.joined(m, x, positions.attended(m, q, k, v, mask), heads * width)


def table_from_an_offset(m: Lengths, x: Feature) -> Made:
    """Where a table begins is an input with a default."""
    net = m.net
    table, start = net.weight(m.rows + OFFSET, x.size, scale=1.0), m.default_number(1, OFFSET)
    if m.chance(0.5):
        found = net.Slice(table, start, net.Add(start, m.tokens), net.ints(0))
    else:
        found = net.Gather(table, net.Add(positions.numbers(m, net.ints(0), m.tokens), start))
    return Feature(net.Add(x.name, found), x.size, x.area)


def table_of_a_caller(m: Lengths, x: Feature) -> Made:
    """The table itself is an input with a default."""
    found = positions.rows(m, m.default(m.rows, x.size), False)
    return Feature(m.net.Mul(x.name, found), x.size, x.area)


def weight_of_a_caller(m: Lengths, x: Feature) -> Made:
    """A matrix with a default, one side of which meets channels that could go."""
    size = m.pick(4, 6, x.size)
    return Feature(m.net.MatMul(x.name, m.default(x.size, size)), size, x.area)


def place_of_a_caller(m: Lengths, x: Feature) -> Made:
    """Which channel is added to all others is an input with a default."""
    net = m.net
    one = net.Gather(x.name, m.default_number(min(1, x.size - 1), x.size - 1), axis=2)
    return Feature(net.Add(x.name, one), x.size, x.area)


def masked_places(m: Lengths, x: Feature) -> Made:
    """Places that count, by an input beside the picture."""
    net = m.net
    seen = net.Cast(m.given("seen", HEIGHT, WIDTH, below=2), to=1)
    return Feature(net.Mul(x.name, net.unsqueeze(seen, 1)), x.size, x.area)


def kernel_of_a_caller(m: Lengths, x: Feature) -> Made:
    """A kernel with a default."""
    kernel = m.default(4, x.size, 3, 3)
    return Feature(m.net.Conv(x.name, kernel, pads=[1] * 4), 4, x.area)


TOKENS_STEPS = [
    positions_given, positions_of_a_mask, attention_masked, table_from_an_offset,
    table_of_a_caller, weight_of_a_caller, place_of_a_caller,
]  # fmt: skip
IMAGES_STEPS = [masked_places, kernel_of_a_caller]
