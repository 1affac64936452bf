"""Motifs of control flow: If, Loop and Scan with states, slices, stacks, captured tensors."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.nets.bodies import STEP, body, choose, loop, on, positive, scan
from tests.nets.motif import motif
from tests.nets.net import Net
from tests.nets.recurrent import gates

LENGTH = 5


def tokens(n: Net, size: int, name: str = "x") -> str:
    """An input, as `[N, L, size]`."""
    return n.Tanh(n.linear(n.input(name, LENGTH, 4), 4, size))


def start(n: Net, size: int) -> str:
    """A first state `[N, size]` that follows from an input."""
    return n.Tanh(n.linear(n.input("h", 3), 3, size))


def zeros(n: Net, *shape: int) -> str:
    return n.const(np.zeros(shape, n.dtype))


@motif("6 7 8")
def if_with_weights(n: Net) -> str:  # both sides make the same channels, one from others inside
    y = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 8))
    y = choose(
        n,
        positive(n, y),
        lambda: [n.linear(n.Relu(n.linear(y, 8, 7)), 7, 6)],
        lambda: [n.Sigmoid(n.linear(y, 8, 6))],
        inside=True,
    )
    return n.linear(y, 6, 5)


@motif("6 8")
def if_hands_on(n: Net) -> list[str]:  # what is there already, what is stored, one each
    x = n.input("x", LENGTH, 4)
    y, z = n.Relu(n.linear(x, 4, 8)), n.linear(x, 4, 6)
    a, b = choose(
        n,
        positive(n, x),
        lambda: [n.Identity(y), n.Add(z, n.weight(6))],
        lambda: [n.Neg(y), n.Mul(z, n.weight(6))],
        outs=2,
    )
    return [n.linear(n.Add(a, y), 8, 5), n.linear(b, 6, 3)]


@motif("6 8")
def if_in_if(n: Net) -> str:
    x = n.input("x", LENGTH, 4)
    y = n.Relu(n.linear(x, 4, 8))

    def inner() -> list[str]:
        z = n.linear(y, 8, 6)
        return [choose(n, positive(n, n.Sin(x)), lambda: [n.Tanh(z)], lambda: [n.linear(y, 8, 6)])]

    z = choose(n, positive(n, x), inner, lambda: [n.linear(y, 8, 6)], inside=True)
    return n.linear(z, 6, 5)


@motif("7 8")
def loop_with_state(n: Net) -> list[str]:  # the state comes in, goes round, and is stacked
    y, h = n.Relu(n.linear(n.input("x", 4), 4, 7)), start(n, 8)

    def step(_: str, h: str) -> list[str]:
        new = n.Tanh(n.Add(n.linear(h, 8, 8), n.linear(y, 7, 8)))
        return [new, n.Neg(new)]

    h, seen = loop(n, 3, step, [h], 2, shapes=[(n.batch, 8)])
    return [n.linear(h, 8, 5), n.linear(seen, 8, 3)]


@motif("6 7", batch=1, fixed=True)
def loop_from_zeros(n: Net) -> str:  # stored states, one of them never changed, a counter
    x = n.input("x", 4)

    def step(number: str, count: str, h: str, weight: str, c: str) -> list[str]:
        times = n.Cast(number, to=TensorProto.FLOAT)
        c = n.Add(n.Sigmoid(c), n.MatMul(n.Mul(x, times), weight))
        h = n.Tanh(n.Add(n.linear(h, 6, 6), n.linear(n.Relu(c), 7, 6)))
        return [n.Add(count, n.const(np.int64(1))), h, weight, c]

    given = [n.const(np.int64(0)), zeros(n, 1, 6), n.weight(4, 7), n.weight(1, 7)]
    shapes = [(), (1, 6), (4, 7), (1, 7)]
    kinds = _counted(n, step, given, shapes)
    return n.linear(kinds[1], 6, 5)


def _counted(n: Net, step, given: list[str], shapes) -> list[str]:
    """A Loop whose first state is a number of type int64."""
    stated = [("count", np.int64, shapes[0]), *(("state", None, s) for s in shapes[1:])]

    def make(number: str, go: str, *states: str) -> list[str]:
        return [on(n, go), *step(number, *states)]

    graph = body(n, make, [*STEP, *stated], inside=True)
    graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    trips, go = n.const(np.int64(3)), n.const(np.bool_(True))
    return n.Loop(trips, go, *given, body=graph, outs=4)


@motif("8 9")
def scan_forward(n: Net) -> list[str]:
    y, h = tokens(n, 9), start(n, 8)

    def step(h: str, x: str) -> list[str]:
        new = n.Tanh(n.Add(n.linear(h, 8, 8), n.linear(x, 9, 8)))
        return [new, n.Identity(new)]

    axes = {"scan_input_axes": [1], "scan_output_axes": [1]}
    h, seen = scan(n, step, [h], [y], 2, **axes)
    return [n.linear(n.Relu(seen), 8, 5), n.Relu(n.linear(h, 8, 3))]


@motif("6 7 8 9")
def scan_both_ways(n: Net) -> str:  # several states and slices, one backwards, axes from the end
    y, z = n.Transpose(tokens(n, 9), perm=[1, 0, 2]), tokens(n, 8, "z")
    h, c = start(n, 6), n.linear(n.input("c", 2), 2, 7)

    def step(h: str, c: str, a: str, b: str) -> list[str]:
        c = n.Add(n.linear(b, 8, 7), n.Sigmoid(c))
        h = n.Tanh(n.Add(n.linear(h, 6, 6), n.Mul(n.linear(a, 9, 6), n.linear(c, 7, 6))))
        return [h, c, n.Identity(h), n.Neg(c)]

    attrs = {
        "scan_input_axes": [0, -2],
        "scan_input_directions": [1, 0],
        "scan_output_axes": [-2, 0],
        "scan_output_directions": [0, 1],
    }
    _, c, seen, kept = scan(n, step, [h, c], [y, z], 4, inside=True, **attrs)
    kept = n.Transpose(kept, perm=[1, 0, 2])
    return n.Add(n.linear(seen, 6, 5), n.linear(n.Add(kept, n.unsqueeze(c, 1)), 7, 5))


@motif("6 8")
def scan_of_columns(n: Net) -> str:  # channels before what is walked along, and the same behind
    y, h = n.Relu(n.conv(n.input("x", 3, LENGTH), 3, 6, dims=1)), start(n, 8)

    def step(h: str, x: str) -> list[str]:
        new = n.Tanh(n.Add(n.linear(h, 8, 8), n.linear(x, 6, 8)))
        return [new, n.Neg(new)]

    _, seen = scan(n, step, [h], [y], 2, scan_input_axes=[2], scan_output_axes=[-1])
    return n.conv(seen, 8, 5, dims=1)


@motif("9", fixed=True)
def scan_along_channels(n: Net) -> str:  # what is walked along stays, what lies beside it may go
    y = n.reshape(n.linear(n.input("x", LENGTH, 4), 4, 6), LENGTH, 6)
    z = tokens(n, 9, "z")

    def step(total: str, column: str) -> list[str]:
        new = n.Add(total, column)
        return [new, n.Identity(new)]

    first = n.reduce("ReduceSum", n.Mul(y, n.scalar(0)), 2, keep=False)
    _, sums = scan(n, step, [first], [y], 2, scan_input_axes=[2], scan_output_axes=[2])
    return n.Concat(n.linear(sums, 6, 5), n.linear(z, 9, 5), axis=2)


@motif("8 9")
def if_in_loop(n: Net) -> str:  # a layer by turns
    y, h = n.Relu(n.linear(n.input("x", 4), 4, 9)), start(n, 8)

    def step(_: str, h: str) -> list[str]:
        new = choose(
            n,
            positive(n, h),
            lambda: [n.Tanh(n.linear(h, 8, 8))],
            lambda: [n.Add(h, n.linear(y, 9, 8))],
            inside=True,
        )
        return [new]

    return n.linear(loop(n, 3, step, [h], 1), 8, 5)


@motif("6 8")
def scan_in_loop(n: Net) -> str:  # the state of the inner one starts from that of the outer one
    y, h = tokens(n, 6), start(n, 8)

    def step(_: str, h: str) -> list[str]:
        def inner(h: str, x: str) -> list[str]:
            return [n.Tanh(n.Add(n.linear(h, 8, 8), n.linear(x, 6, 8)))]

        shapes = [(n.batch, 8), (n.batch, 6)]
        return [scan(n, inner, [h], [y], 1, shapes=shapes, scan_input_axes=[1])]

    return n.linear(loop(n, 2, step, [h], 1), 8, 5)


@motif("4 6", fixed=True, opset=14)
def lstm_in_if(n: Net) -> str:  # a recurrent layer in either branch
    y = n.Transpose(tokens(n, 6), perm=[1, 0, 2])

    def side(op: str) -> list[str]:
        z = n.node(op, y, *gates(n, op, 6, 4), hidden_size=4)
        return [n.squeeze(z, 1)]

    z = choose(n, positive(n, y), lambda: side("LSTM"), lambda: side("GRU"), inside=True)
    return n.linear(n.Transpose(z, perm=[1, 0, 2]), 4, 5)


@motif("6 8", opset=13, batch=1, fixed=True)
def shared_inside_and_outside(n: Net) -> str:  # one weight in a body, in the other, and outside
    weight, bias = n.weight(6, 6), n.weight(6)
    y = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 6))
    y = n.Relu(n.Add(n.MatMul(y, weight), bias))

    def step(_: str, h: str) -> list[str]:
        return [n.Tanh(n.Add(n.MatMul(h, weight), bias))]

    z = loop(n, 2, step, [y], 1)
    z = choose(n, positive(n, y), lambda: [n.MatMul(z, weight)], lambda: [n.Add(n.Neg(z), bias)])
    return n.linear(n.Relu(n.linear(z, 6, 8)), 8, 5)


@motif("6", fixed=True)
def state_that_rolls(n: Net) -> str:  # channels trade places: all or none may go
    y, h = n.Relu(n.linear(n.input("x", 4), 4, 6)), start(n, 8)

    def step(_: str, h: str) -> list[str]:
        rolled = n.Concat(n.slice(h, 1, 8, 1), n.slice(h, 0, 1, 1), axis=1)
        return [n.Add(rolled, n.linear(y, 6, 8))]

    return n.linear(loop(n, 3, step, [h], 1), 8, 5)


@motif("6", fixed=True)
def state_from_outside(n: Net) -> list[str]:  # what is given from outside keeps its size
    y = n.Relu(n.linear(n.input("x", 4), 4, 6))

    def step(_: str, h: str) -> list[str]:
        return [n.Tanh(n.Add(n.linear(h, 8, 8), n.linear(y, 6, 8)))]

    h = loop(n, 3, step, [n.input("h", 8)], 1)
    return [h, n.linear(h, 8, 5)]


@motif("3 6", fixed=True, opset=14)
def reshaped_inside(n: Net) -> str:  # sizes that are stored outside and used inside
    y, h = n.Relu(n.linear(n.input("x", 4), 4, 6)), start(n, 6)
    split, merged = n.ints(2, 2, 3), n.ints(2, 6)

    def step(_: str, h: str) -> list[str]:
        heads = n.Reshape(h, split)
        gate = n.Softmax(n.MatMul(heads, n.Transpose(heads, perm=[0, 2, 1])), axis=-1)
        h = n.Reshape(n.MatMul(gate, heads), merged)
        return [n.Add(h, n.linear(y, 6, 6))]

    return n.linear(loop(n, 2, step, [h], 1), 6, 5)


@motif("6 8", opset=13, fixed=True)
def quantized_inside(n: Net) -> str:
    step_of = n.scalar(1 / 64), n.const(np.uint8(128))
    y, h = n.Relu(n.linear(n.input("x", 4), 4, 6)), start(n, 8)
    byte = n.const(n.random.integers(-60, 61, (8, 8)).astype(np.int8))
    scale = n.const((n.random.random(8) * 0.01 + 0.002).astype(np.float32))

    def step(_: str, h: str) -> list[str]:
        h = n.DequantizeLinear(n.QuantizeLinear(h, *step_of), *step_of)
        new = n.MatMul(h, n.DequantizeLinear(byte, scale, axis=1))
        return [n.Tanh(n.Add(new, n.linear(y, 6, 8)))]

    return n.linear(loop(n, 2, step, [h], 1), 8, 5)


@motif("6", fixed=True, opset=17)
def sequence_of_tensors(n: Net) -> str:  # what a body captures that nobody follows stays
    y = n.Relu(n.linear(n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 6)), 6, 8))
    z = n.linear(n.input("z", LENGTH, 4), 4, 8)
    each = body(n, lambda item: [n.Add(item, y)], [("item", None, None)])
    parts = n.SequenceMap(n.SequenceConstruct(z, n.Neg(z)), body=each)
    return n.linear(n.SequenceAt(parts, n.const(np.int64(1))), 8, 5)


@motif("6 8", fixed=True)
def names_that_clash(n: Net) -> str:  # two bodies that call what they hold and make the same
    y = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 8))
    graphs = []
    for make in (lambda: [n.linear(y, 8, 6)], lambda: [n.Relu(n.linear(y, 8, 6))]):
        n._count = 100
        graphs.append(body(n, make, inside=True))
    z = n.If(positive(n, y), then_branch=graphs[0], else_branch=graphs[1])
    return n.linear(z, 6, 5)


@motif("6 8", fixed=True)
def weights_go_round(n: Net) -> list[str]:  # states that no step changes are read from outside
    y, h = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 6)), start(n, 8)

    def step(_: str, kept: str, h: str, weight: str) -> list[str]:
        total = n.reduce("ReduceSum", n.MatMul(kept, weight), 1, keep=False)
        return [n.Identity(kept), n.Tanh(n.Add(n.linear(h, 8, 8), total)), weight]

    kept, h, weight = loop(n, 2, step, [y, h, n.weight(6, 8)], 3)
    return [n.linear(h, 8, 5), n.linear(n.Relu(n.MatMul(kept, weight)), 8, 3)]


@motif("6 8", fixed=True)
def stored_branch(n: Net) -> str:  # a branch is nothing but a stored tensor
    y = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 8))
    z = choose(
        n,
        positive(n, y),
        lambda: [n.weight(2, LENGTH, 6)],
        lambda: [n.linear(y, 8, 6)],
        inside=True,
    )
    return n.linear(z, 6, 5)


@motif("6 8", "LayerNormalization", opset=17)
def norm_inside(n: Net) -> str:
    y, h = n.Relu(n.linear(n.input("x", LENGTH, 4), 4, 6)), tokens(n, 8, "z")

    def step(_: str, h: str) -> list[str]:
        return [n.Tanh(n.Add(n.linear(n.layer_norm(h, 8), 8, 8), n.linear(y, 6, 8)))]

    return n.linear(loop(n, 2, step, [h], 1), 8, 5)
