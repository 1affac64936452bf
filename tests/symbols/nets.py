"""Small nets in which positions, masks and bounds are computed from the length of the input.

Each has a stream of `WIDTH` channels that a table of `ROWS` rows is added to, or another place
where a rule could look at numbers that hold at one length only.  All are exact: what is dropped is
zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.nets.net import Net

WIDTH = 16
ROWS = 12
Make = Callable[[Net, str, str], str]
NETS: dict[str, Make] = {}


def net(make: Make) -> Make:
    """Add to the list what makes a stream `[N, T, WIDTH]` of another one, and of the length."""
    NETS[make.__name__] = make
    return make


def build(name: str) -> ModelProto:
    """Features, one of the nets, and a head."""
    n = Net(batch="N", sizes="computed", seed=len(name))
    ids = n.input("x", "T", 6)
    stream = n.linear(ids, 6, WIDTH)
    length = n.Gather(n.Shape(ids), n.ints(1))
    made = NETS[name](n, stream, length)
    return n.done(n.linear(n.Relu(n.linear(n.Relu(made), WIDTH, 10)), 10, 3))


def table(n: Net, *shape: int) -> str:
    """Rows that are told apart."""
    return n.weight(*(shape or (ROWS, WIDTH)), scale=1.0)


def numbers(n: Net, length: str) -> str:
    """0, 1, ... below the length."""
    one = n.const(np.int64(1))
    return n.Range(n.const(np.int64(0)), n.Squeeze(length, n.ints(0)), one)


@net
def looked_up_by_range(n: Net, x: str, length: str) -> str:
    return n.Add(x, n.Gather(table(n), numbers(n, length)))


@net
def looked_up_by_a_sliced_buffer(n: Net, x: str, length: str) -> str:
    buffer = n.const(np.arange(ROWS)[None])
    ids = n.Slice(buffer, n.ints(0), length, n.ints(1), n.ints(1))
    return n.Add(x, n.Gather(table(n), ids))


@net
def looked_up_by_a_running_sum(n: Net, x: str, length: str) -> str:
    ones = n.ConstantOfShape(length, value=helper.make_tensor("", TensorProto.INT64, [1], [1]))
    places = n.Sub(n.CumSum(ones, n.const(np.int64(0))), n.ints(1))
    return n.Add(x, n.Gather(table(n), places))


@net
def looked_up_where_ones_are(n: Net, x: str, length: str) -> str:
    ones = n.ConstantOfShape(length, value=helper.make_tensor("", TensorProto.INT64, [1], [1]))
    return n.Add(x, n.Squeeze(n.GatherND(table(n), n.Transpose(n.NonZero(ones))), n.ints()))


@net
def looked_up_from_the_end(n: Net, x: str, length: str) -> str:
    places = n.Sub(n.ints(-1), numbers(n, length))
    return n.Add(x, n.Gather(table(n), places))


@net
def looked_up_behind_an_offset(n: Net, x: str, length: str) -> str:
    """Half of the tokens count as a cache that was there before."""
    past = n.Div(length, n.ints(2))
    places = n.Min(n.Add(numbers(n, length), past), n.ints(ROWS - 1))
    return n.Add(x, n.Gather(table(n), places))


@net
def looked_up_by_bucket(n: Net, x: str, length: str) -> str:
    """Biases of heads by distance, added to products of queries and keys."""
    rows = n.Unsqueeze(numbers(n, length), n.ints(1))
    far = n.Abs(n.Sub(rows, n.Unsqueeze(numbers(n, length), n.ints(0))))
    biases = n.Gather(table(n, 8, 4), n.Min(far, n.ints(7)))
    biases = n.Unsqueeze(n.Transpose(biases, perm=[2, 0, 1]), n.ints(0))
    q, k, v = (_heads(n, n.linear(x, WIDTH, WIDTH, bias=False)) for _ in range(3))
    scores = n.Add(n.MatMul(q, n.Transpose(k, perm=[0, 1, 3, 2])), biases)
    mixed = n.MatMul(n.Softmax(scores, axis=-1), v)
    merged = n.Reshape(n.Transpose(mixed, perm=[0, 2, 1, 3]), n.ints(0, 0, WIDTH))
    return n.Add(x, n.linear(merged, WIDTH, WIDTH, bias=False))


def _heads(n: Net, x: str) -> str:
    return n.Transpose(n.Reshape(x, n.ints(0, 0, 4, WIDTH // 4)), perm=[0, 2, 1, 3])


@net
def sliced(n: Net, x: str, length: str) -> str:
    return n.Add(x, n.Slice(table(n, 1, ROWS, WIDTH), n.ints(0), length, n.ints(1)))


@net
def sliced_behind_an_offset(n: Net, x: str, length: str) -> str:
    start = n.Sub(n.ints(ROWS), length)
    return n.Add(x, n.Slice(table(n), start, n.ints(ROWS), n.ints(0)))


@net
def sliced_twice(n: Net, x: str, length: str) -> str:
    """The second time along an axis that is as long as the input."""
    most = n.Min(n.Add(length, n.ints(1)), n.ints(ROWS))
    rows = n.Slice(table(n), n.ints(0), most, n.ints(0))
    return n.Add(x, n.Slice(rows, n.ints(0), length, n.ints(0)))


@net
def sliced_where_short_ones_look_alike(n: Net, x: str, length: str) -> str:
    """All lengths but the longest read the same rows of a first slice."""
    rows = n.Slice(table(n), n.ints(0), n.Max(length, n.ints(ROWS - 1)), n.ints(0))
    return n.Add(x, n.Slice(rows, n.ints(0), length, n.ints(0)))


@net
def looked_up_by_a_length_that_looks_fixed(n: Net, x: str, length: str) -> str:
    """The last row of a slice that is as long for all inputs but the longest."""
    rows = n.Slice(table(n, ROWS, 1), n.ints(0), n.Max(length, n.ints(ROWS - 1)), n.ints(0))
    last = n.Sub(n.Gather(n.Shape(n.Relu(rows)), n.ints(0)), n.ints(1))
    return n.Add(x, n.Gather(table(n), last))


@net
def split(n: Net, x: str, length: str) -> str:
    sizes = n.Concat(length, n.Sub(n.ints(ROWS), length), axis=0)
    return n.Add(x, n.Split(table(n), sizes, axis=0, outs=2)[0])


@net
def padded_to_the_table(n: Net, x: str, length: str) -> str:
    missing = n.Sub(n.ints(ROWS), length)
    pads = n.Concat(n.ints(0, 0, 0, 0), missing, n.ints(0), axis=0)
    whole = n.Relu(n.Add(n.Pad(x, pads), table(n)))
    return n.Slice(whole, n.ints(0), length, n.ints(1))


@net
def repeated(n: Net, x: str, length: str) -> str:
    """Two rows in turn, as often as needed."""
    times = n.Concat(n.Div(n.Add(length, n.ints(1)), n.ints(2)), n.ints(1), axis=0)
    return n.Add(x, n.Slice(n.Tile(table(n, 2, WIDTH), times), n.ints(0), length, n.ints(0)))


@net
def stretched(n: Net, x: str, length: str) -> str:
    """A table as an image of one column, resized to the length; as long as one may analyse."""
    sizes = n.Concat(n.ints(1, WIDTH), length, n.ints(1), axis=0)
    image = n.Resize(table(n, 1, WIDTH, 7, 1), "", "", sizes, mode="nearest")
    return n.Add(x, n.Transpose(n.Squeeze(image, n.ints(3)), perm=[0, 2, 1]))


@net
def written_out(n: Net, x: str, length: str) -> str:
    """One row for all places, expanded to the shape of the stream."""
    return n.Add(x, n.Expand(table(n, 1, WIDTH), n.Shape(x)))


@net
def summed_copies(n: Net, x: str, length: str) -> str:
    """A number written out over tokens and channels, and summed over the tokens."""
    size = n.Concat(length, n.ints(WIDTH), axis=0)
    sums = n.ReduceSum(n.Expand(n.scalar(0.3), size), n.ints(0), keepdims=0)
    copies = n.Expand(n.Reshape(n.ReduceSum(x), n.ints(1, 1)), size)
    return n.Add(n.Add(x, sums), n.ReduceSum(copies, n.ints(0), keepdims=0))


@net
def summed_fill(n: Net, x: str, length: str) -> str:
    """The same of a tensor made to size."""
    size = n.Concat(length, n.ints(WIDTH), axis=0)
    half = helper.make_tensor("", TensorProto.FLOAT, [1], [0.5])
    return n.Add(x, n.ReduceSum(n.ConstantOfShape(size, value=half), n.ints(0), keepdims=0))


@net
def rotated(n: Net, x: str, length: str) -> str:
    """Rotary positions: sliced tables of sines and cosines, halves that change places."""
    ends = n.ints(0), length, n.ints(0)
    cos, sin = (n.Slice(table(n, ROWS, WIDTH // 4), *ends) for _ in range(2))
    q, k, v = (_heads(n, n.linear(x, WIDTH, WIDTH, bias=False)) for _ in range(3))
    q, k = _turn(n, q, cos, sin), _turn(n, k, cos, sin)
    mixed = n.MatMul(n.Softmax(n.MatMul(q, n.Transpose(k, perm=[0, 1, 3, 2])), axis=-1), v)
    merged = n.Reshape(n.Transpose(mixed, perm=[0, 2, 1, 3]), n.ints(0, 0, WIDTH))
    return n.Add(x, n.linear(merged, WIDTH, WIDTH, bias=False))


def _turn(n: Net, q: str, cos: str, sin: str) -> str:
    half = WIDTH // 8
    left, right = n.slice(q, 0, half, 3), n.slice(q, half, 2 * half, 3)
    return n.Add(n.Mul(q, cos), n.Mul(n.Concat(n.Neg(right), left, axis=-1), sin))


@net
def masked_by_a_buffer(n: Net, x: str, length: str) -> str:
    """A stored triangle, sliced along both of its axes."""
    buffer = n.const(np.where(np.tri(ROWS), 0, -30).astype(np.float32))
    ends = n.Concat(length, length, axis=0)
    mask = n.Slice(buffer, n.ints(0, 0), ends, n.ints(0, 1))
    q, k = (n.linear(x, WIDTH, WIDTH, bias=False) for _ in range(2))
    scores = n.Add(n.MatMul(q, n.Transpose(k, perm=[0, 2, 1])), mask)
    return n.Add(x, n.MatMul(n.Softmax(scores, axis=-1), n.linear(x, WIDTH, WIDTH, bias=False)))


@net
def halved_where_its_own_shape_says(n: Net, x: str, length: str) -> str:
    """A gate: bounds along the channels, computed from how many there are."""
    wide = n.linear(x, WIDTH, 2 * WIDTH)
    size = n.Gather(n.Shape(wide), n.ints(2))
    middle = n.Div(size, n.ints(2))
    left = n.Slice(wide, n.ints(0), middle, n.ints(2))
    return n.Mul(left, n.Sigmoid(n.Slice(wide, middle, size, n.ints(2))))


@net
def cropped_along_both(n: Net, x: str, length: str) -> str:
    """One slice along the tokens, by the length, and along the channels, by a number."""
    wide = n.linear(x, WIDTH, 2 * WIDTH)
    ends = n.Concat(length, n.ints(WIDTH), axis=0)
    return n.Slice(wide, n.ints(0, 0), ends, n.ints(1, 2))


@net
def cropped_where_a_number_beside_the_length_says(n: Net, x: str, length: str) -> str:
    """The bound along the channels is picked from a vector that holds the length as well."""
    wide = n.linear(x, WIDTH, 2 * WIDTH)
    sizes = n.Concat(length, n.ints(WIDTH), axis=0)
    return n.Slice(wide, n.ints(0), n.Gather(sizes, n.ints(1)), n.ints(2))


@net
def folded_with_the_length(n: Net, x: str, length: str) -> str:
    """Tokens and channels in one axis, and apart again."""
    size = n.Mul(length, n.ints(WIDTH))
    flat = n.Reshape(x, n.Concat(n.ints(-1), size, axis=0))
    return n.Reshape(n.Relu(flat), n.Concat(n.ints(-1), length, n.ints(WIDTH), axis=0))
