"""Steps over tokens of any number: tables, masks and caches whose sizes are computed."""

from __future__ import annotations

import numpy as np

from tests.nets.random_lengths import Feature, Lengths

Made = Feature | list[Feature] | None
HEADS = ((2, 4), (2, 2), (3, 4), (1, 6))


def numbers(m: Lengths, start: str, end: str) -> str:
    """Whole numbers from one size to another."""
    net = m.net
    ends = (net.Squeeze(s, net.ints(0)) for s in (start, end))
    return net.Range(*ends, net.const(np.int64(1)))


def bounds(m: Lengths, behind: bool) -> tuple[str, str]:
    """Where the tokens begin and end: at 0, or where the cache ends."""
    if not behind:
        return m.net.ints(0), m.tokens
    return m.past, m.net.Add(m.past, m.tokens)


def rows(m: Lengths, table: str, behind: bool) -> str:
    """The rows of a table that belong to the tokens, found in one of four ways."""
    net, (start, end) = m.net, bounds(m, behind)
    way = m.pick("range", "buffer", "slice", "split" if not behind else "slice")
    if way == "range":
        return net.Gather(table, numbers(m, start, end))
    if way == "buffer":
        buffer = net.const(np.arange(m.rows)[None])
        places = net.Slice(buffer, start, end, net.ints(1))
        return net.Gather(table, net.Squeeze(places, net.ints(0)))
    if way == "split":
        rest = net.Sub(net.ints(m.rows), end)
        return net.Split(table, net.Concat(end, rest, axis=0), axis=0, outs=2)[0]
    return net.Slice(table, start, end, net.ints(0))


def table_of_positions(m: Lengths, x: Feature) -> Made:
    table = m.net.weight(m.rows, x.size, scale=1.0)
    return Feature(m.net.Add(x.name, rows(m, table, False)), x.size, x.area)


def table_behind_a_cache(m: Lengths, x: Feature) -> Made:
    table = m.net.weight(m.rows, x.size, scale=1.0)
    return Feature(m.net.Add(x.name, rows(m, table, True)), x.size, x.area)


def table_that_scales(m: Lengths, x: Feature) -> Made:
    """A row per position, and behind it a layer of its own."""
    size = m.pick(4, 6)
    found = rows(m, m.net.weight(m.rows, size, scale=1.0), m.chance(0.5))
    return Feature(m.net.Mul(x.name, m.net.linear(found, size, x.size)), x.size, x.area)


def table_of_one_row(m: Lengths, x: Feature) -> Made:
    """One row written out over all tokens."""
    net = m.net
    shape = net.Concat(net.ints(1), m.tokens, net.ints(x.size), axis=0)
    return Feature(net.Add(x.name, net.Expand(net.weight(1, x.size), shape)), x.size, x.area)


def shifted(m: Lengths, x: Feature) -> Made:
    """Every token next to the one before it; the first one next to zeros."""
    net = m.net
    if m.chance(0.5):
        before = net.Pad(x.name, net.ints(0, 1, 0, 0, -1, 0))
    else:
        padded = net.Pad(x.name, net.ints(0, 1, 0, 0, 0, 0))
        before = net.Slice(padded, net.ints(0), m.tokens, net.ints(1))
    return Feature(net.Add(net.Mul(x.name, m.default(1)), before), x.size, x.area)


def projected(m: Lengths, x: Feature) -> tuple[list[str], int, int]:
    """Queries, keys and values `[N, H, T, D]`, the number of heads and their width."""
    heads, width = m.pick(*HEADS)
    made = (m.net.linear(x.name, x.size, heads * width, bias=m.chance(0.6)) for _ in range(3))
    return [m.net.heads(y, 0, heads, width) for y in made], heads, width


def joined(m: Lengths, x: Feature, mixed: str, size: int) -> Feature:
    """Heads put together again, a layer, and the residual."""
    merged = m.net.merge(mixed, 0, size)
    return Feature(m.net.Add(x.name, m.net.linear(merged, size, x.size)), x.size, x.area)


def attended(m: Lengths, q: str, k: str, v: str, mask: str = "") -> str:
    net = m.net
    scores = net.Mul(net.MatMul(q, net.Transpose(k, perm=[0, 1, 3, 2])), net.scalar(0.5))
    return net.MatMul(net.Softmax(net.Add(scores, mask) if mask else scores, axis=-1), v)


def causal(m: Lengths, behind: bool) -> str:
    """What no token may look at, `[T, T]` or `[T, P + T]`, made in one of several ways."""
    net, (start, end) = m.net, bounds(m, behind)
    far = net.scalar(-30)
    way = m.pick("stored", "yes or no", "compared", "window", "triangle", "triangle of all")
    if way == "stored":
        whole = net.const(np.where(np.tri(m.rows), 0, -30).astype(np.float32))
        return net.Slice(net.Slice(whole, start, end, net.ints(0)), net.ints(0), end, net.ints(1))
    if way == "yes or no":
        rows = net.Slice(net.const(np.tri(m.rows, dtype=bool)), start, end, net.ints(0))
        seen = net.Slice(rows, net.ints(0), end, net.ints(1))
        return net.Where(seen, net.scalar(0), far)
    if way in ("compared", "window"):
        own = net.unsqueeze(numbers(m, start, end), 1)
        seen = net.unsqueeze(numbers(m, net.ints(0), end), 0)
        if way == "compared":
            return net.Where(net.Less(own, seen), far, net.scalar(0))
        apart = net.Abs(net.Sub(own, seen))
        return net.Where(net.Less(apart, net.const(np.int64(3))), net.scalar(0), far)
    if way == "triangle":
        full = net.Expand(far, net.Concat(m.tokens, end, axis=0))
        first = net.Add(net.Squeeze(start, net.ints(0)), net.const(np.int64(1)))
        return net.Trilu(full, first, upper=1)
    full = net.Trilu(net.Expand(far, net.Concat(end, end, axis=0)), net.const(np.int64(1)), upper=1)
    return net.Slice(full, start, end, net.ints(0))


def attention_causal(m: Lengths, x: Feature) -> Made:
    (q, k, v), heads, width = projected(m, x)
    return joined(m, x, attended(m, q, k, v, causal(m, False)), heads * width)


def attention_cached(m: Lengths, x: Feature) -> Made:
    """Keys and values behind those of a cache, which are handed out together."""
    net, (q, k, v), heads, width = m.net, *projected(m, x)
    k, v = (net.Concat(m.cache(heads, width), y, axis=2) for y in (k, v))
    m.presents += [k, v]
    return joined(m, x, attended(m, q, k, v, causal(m, True)), heads * width)


def attention_behind_memory(m: Lengths, x: Feature) -> Made:
    """Keys and values of a memory, whose channels can go, in front of those of the tokens."""
    net, (q, k, v), heads, width = m.net, *projected(m, x)
    size, both = heads * width, []
    for y in (k, v):
        old = net.heads(net.linear(m.memory, 6, size, bias=m.chance(0.5)), 0, heads, width)
        both.append(net.Concat(old, y, axis=2))
    return joined(m, x, attended(m, q, *both, causal(m, True)), size)


def attention_in_batches(m: Lengths, x: Feature) -> Made:
    """Heads become part of the batch, and come back."""
    net, (q, k, v), heads, width = m.net, *projected(m, x)
    many = net.Mul(m.size_of("x", 0), net.ints(heads))
    first = m.pick(-1, many)
    q, k, v = (m.flat(y, first, m.tokens, width) for y in (q, k, v))
    k = net.Transpose(k, perm=[0, 2, 1])
    scores = net.Add(net.MatMul(q, k), causal(m, False))
    mixed = net.MatMul(net.Softmax(scores, axis=-1), v)
    batch = m.pick(-1, m.size_of("x", 0))
    mixed = m.flat(mixed, batch, heads, m.tokens, width)
    return joined(m, x, mixed, heads * width)


def rotated(m: Lengths, y: str, width: int, cos: str, sin: str) -> str:
    net, half = m.net, width // 2
    low, high = net.slice(y, 0, half, 3), net.slice(y, half, width, 3)
    return net.Add(net.Mul(y, cos), net.Mul(net.Concat(net.Neg(high), low, axis=-1), sin))


def attention_turned(m: Lengths, x: Feature) -> Made:
    """Rotary positions: sines and cosines from sliced tables, or computed."""
    net, (q, k, v), heads, width = m.net, *projected(m, x)
    behind = m.chance(0.5)
    if m.chance(0.5):
        angles = np.outer(np.arange(m.rows), 0.3 ** np.arange(width // 2)).astype(np.float32)
        angles = np.concatenate([angles, angles], axis=1)
        cos, sin = (rows(m, net.const(f(angles)), behind) for f in (np.cos, np.sin))
    else:
        places = net.Cast(numbers(m, *bounds(m, behind)), to=1)
        speeds = net.const((0.3 ** np.arange(width // 2)).astype(np.float32)[None])
        half = net.Mul(net.unsqueeze(places, 1), speeds)
        angles = net.Concat(half, half, axis=-1)
        cos, sin = net.Cos(angles), net.Sin(angles)
    q, k = (rotated(m, y, width, cos, sin) for y in (q, k))
    return joined(m, x, attended(m, q, k, v), heads * width)


def attention_by_distance(m: Lengths, x: Feature) -> Made:
    """A bias per head, by how far two tokens are apart: looked up, or times a slope."""
    net, (q, k, v), heads, width = m.net, *projected(m, x)
    places = numbers(m, net.ints(0), m.tokens)
    far = net.Abs(net.Sub(net.unsqueeze(places, 1), net.unsqueeze(places, 0)))
    if m.chance(0.5):
        biases = net.Gather(net.weight(6, heads, scale=1.0), net.Min(far, net.ints(5)))
        biases = net.unsqueeze(net.Transpose(biases, perm=[2, 0, 1]), 0)
    else:
        biases = net.Mul(net.Cast(far, to=1), net.weight(heads, 1, 1, scale=0.3))
    return joined(m, x, attended(m, q, k, v, biases), heads * width)


def gathered_elements(m: Lengths, x: Feature) -> Made:
    """The best tokens, found with an index that is expanded along the channels."""
    net = m.net
    count = m.pick(net.ints(1), m.tokens)
    _, index = net.TopK(m.mapped(x, 1).name, count, axis=1, outs=2)
    index = net.Expand(index, net.ints(1, 1, x.size))
    found = net.reduce("ReduceSum", net.GatherElements(x.name, index, axis=1), 1)
    return Feature(net.Add(x.name, net.Tanh(found)), x.size, x.area)


def best_token(m: Lengths, x: Feature) -> Made:
    """The largest number of each channel, by the place where it is."""
    net = m.net
    values, _ = net.TopK(x.name, net.ints(1), axis=1, outs=2)
    return Feature(net.Add(x.name, values), x.size, x.area)


def routed(m: Lengths, x: Feature) -> Made:
    """Each token goes to the one of three layers that scores best."""
    net = m.net
    best = net.ArgMax(m.mapped(x, 3).name, axis=2, keepdims=1)
    chosen = net.Cast(net.Equal(best, net.ints(0, 1, 2)), to=1)
    size = m.pick(4, 6, x.size)
    parts = [net.Mul(m.mapped(x, size).name, net.slice(chosen, i, i + 1, 2)) for i in range(3)]
    return Feature(net.Add(net.Add(parts[0], parts[1]), parts[2]), size, x.area)


def gated_by_comparison(m: Lengths, x: Feature) -> Made:
    """A score per token says which of two features it keeps."""
    score, other = m.mapped(x, 1).name, m.matched(x)
    return Feature(
        m.net.Where(m.net.Greater(score, m.net.scalar(0.1)), x.name, other.name), x.size, x.area
    )


def scaled_by_default(m: Lengths, x: Feature) -> Made:
    """A factor that is an input with a default: one for all, or one per channel."""
    shape = m.pick((1,), (x.size,), (1, 1, x.size))
    return Feature(m.net.Mul(x.name, m.default(*shape)), x.size, x.area)


def computed_weight(m: Lengths, x: Feature) -> Made:
    """A convolution along the tokens with weights mixed from a bank, by what comes in."""
    net, size, kinds = m.net, m.pick(4, 6), 3
    scores = (
        net.linear(net.ReduceMax(x.name, axes=[0, 1], keepdims=0), x.size, kinds)
        if net.opset < 18
        else net.linear(net.ReduceMax(x.name, net.ints(0, 1), keepdims=0), x.size, kinds)
    )
    bank = net.weight(kinds, size * x.size * 3, scale=x.size**-0.5)
    weight = net.Reshape(net.MatMul(net.Sigmoid(scores), bank), net.ints(size, x.size, 3))
    y = net.Conv(net.Transpose(x.name, perm=[0, 2, 1]), weight, pads=[1, 1])
    return Feature(net.Transpose(y, perm=[0, 2, 1]), size, x.area)


OWN = [
    table_of_positions, table_behind_a_cache, table_that_scales, table_of_one_row, shifted,
    attention_causal, attention_cached, attention_behind_memory, attention_in_batches,
    attention_turned, attention_by_distance, gathered_elements, best_token, routed,
    gated_by_comparison, scaled_by_default, computed_weight,
]  # fmt: skip
