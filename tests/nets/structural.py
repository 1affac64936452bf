"""Motifs of how files are written: shared weights, shape arithmetic, constants, control flow."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.nets.motif import motif
from tests.nets.net import BATCH, Net


def first(n: Net, make: int = 8) -> str:
    return n.conv(n.input("x", 3, 8, 8), 3, make)


@motif("3 4 5")
def slices(n: Net) -> str:  # every second, from the end, backwards
    y = n.Relu(first(n))
    even, odd = n.slice(y, 0, 8, 1, 2), n.slice(y, 1, 100, 1, 2)
    y = n.conv(n.Add(even, odd), 4, 8)
    y = n.Concat(n.slice(y, -3, 1 << 40, 1), n.slice(y, -1, -(1 << 40), 1, -1), axis=1)
    return n.conv(y, 11, 4)


@motif("3 3 4 6")
def every_second(n: Net) -> str:  # those between go with those that are picked
    y = n.Relu(first(n))
    y = n.Concat(n.conv(y, 8, 3), n.conv(n.slice(y, 0, 8, 1, 2), 4, 3), axis=1)
    return n.head(n.conv(y, 6, 6), 6)


@motif("6 7")
def one_scales_all_others(n: Net) -> str:
    y = first(n)
    y = n.Mul(n.slice(y, 1, 8, 1), n.Sigmoid(n.slice(y, 0, 1, 1)))
    return n.head(n.conv(y, 7, 6), 6)


@motif("2 2 4 4")  # the one picked alone stays
def picked_channels(n: Net) -> str:
    y = n.Relu(first(n))
    y = n.conv(n.Gather(y, n.const(np.array([5, 0, -1, 3])), axis=1), 4, 5)
    a, b = n.Gather(y, n.const(np.int64(2)), axis=1), n.Gather(y, n.ints(4, 1), axis=1)
    return n.conv(n.Concat(n.unsqueeze(a, 1), b, axis=1), 3, 4)


@motif("6")
def shared_twice(n: Net) -> str:  # one encoder over two images
    weight, bias = n.weight(6, 3, 3, 3), n.weight(6)
    a, b = (n.Relu(n.Conv(n.input(name, 3, 8, 8), weight, bias)) for name in "xz")
    return n.head(n.Mul(n.Sub(a, b), a), 6)


@motif("4 6")
def shared_with_an_input(n: Net) -> str:  # what one use reads cannot go: nor what the other does
    x = n.input("x", 4, 8, 8)
    weight = n.weight(4, 4, 3, 3)
    a = n.Relu(n.Conv(x, weight, pads=[1] * 4))
    b = n.Relu(n.Conv(n.conv(a, 4, 4), weight, pads=[1] * 4))
    return n.head(n.conv(n.Add(b, n.conv(a, 4, 4)), 4, 6), 6)


@motif("4 6 8")
def shared_again_and_again(n: Net) -> str:  # one layer, applied three times
    y, weight, bias = first(n), n.weight(6, 6, 3, 3), n.weight(6)
    y = n.Relu(n.conv(y, 8, 6))
    for _ in range(3):
        y = n.Relu(n.Conv(y, weight, bias, pads=[1] * 4))
    return n.head(n.conv(y, 6, 4), 4)


@motif("4 4 6")
def shared_with_different_cuts(n: Net) -> str:  # a table that two layers add, no layer itself
    table = n.weight(4, 8, 8)
    a = n.Relu(n.Add(n.conv(n.input("x", 3, 8, 8), 3, 4), table))
    b = n.Relu(n.Add(n.conv(a, 4, 4), table))
    return n.head(n.conv(b, 4, 6), 6)


@motif("6 6 6")
def shared_bias(n: Net) -> str:  # three uses, cut in two ways and kept whole once
    bias = n.weight(6)
    y = n.Relu(n.Conv(n.input("x", 3, 8, 8), n.weight(6, 3, 3, 3), bias))
    y = n.Relu(n.Conv(y, n.weight(6, 6, 1, 1), bias))
    z = n.Relu(n.Conv(y, n.weight(6, 6, 1, 1), n.weight(6)))
    return n.Conv(z, n.weight(6, 6, 1, 1), bias)


@motif("6 8 8")
def shared_activation_slope(n: Net) -> str:  # one table for two sets of channels of one size
    slope = n.weight(8, 1, 1)
    y = n.PRelu(first(n), slope)
    return n.head(n.conv(n.PRelu(n.conv(y, 8, 8), slope), 8, 6), 6)


@motif("4 8", opset=13)
def chunk_by_shape_arithmetic(n: Net) -> str:  # what old exporters make of torch.chunk
    y = n.Relu(first(n))
    size = n.Gather(n.Shape(y), n.const(np.int64(1)))
    half = n.unsqueeze(n.Div(n.Add(size, n.const(np.int64(1))), n.const(np.int64(2))), 0)
    whole = n.Mul(half, n.ints(2))
    a = n.Slice(y, n.ints(0), half, n.ints(1))
    b = n.Slice(y, half, whole, n.ints(1))
    y = n.conv(n.Mul(a, n.Sigmoid(b)), 4, 8)
    return n.conv(y, 8, 4)


@motif("3x4 3x4 8")
def heads_by_shape_arithmetic(n: Net) -> str:
    y = n.linear(n.input("x", 6, 10), 10, 8)
    q, k, v = (n.linear(y, 8, 12) for _ in range(3))

    def split(t: str) -> str:
        shape = n.Shape(t)
        b, s, c = (n.unsqueeze(n.Gather(shape, n.const(np.int64(i))), 0) for i in range(3))
        width = n.Div(c, n.ints(3))
        return n.Transpose(
            n.Reshape(t, n.Concat(b, s, n.ints(3), width, axis=0)), perm=[0, 2, 1, 3]
        )

    q, k, v = map(split, (q, k, v))
    o = n.Transpose(n.attend(q, n.Transpose(k, perm=[0, 1, 3, 2]), v), perm=[0, 2, 1, 3])
    shape = n.Shape(o)
    b, s, h, d = (n.unsqueeze(n.Gather(shape, n.const(np.int64(i))), 0) for i in range(4))
    o = n.Reshape(o, n.Concat(b, s, n.Mul(h, d), axis=0))
    return n.linear(n.Add(y, n.linear(o, 12, 8)), 8, 5)


@motif("12 2x4 2x4", opset=14)
def scale_by_shape_arithmetic(n: Net) -> str:  # attention divides by the root of its width
    y = n.linear(n.input("x", 6, 10), 10, 12)
    q, k, v = (n.heads(n.linear(y, 12, 8), 6, 2, 4) for _ in range(3))
    width = n.Gather(n.Shape(q), n.const(np.int64(-1)))
    root = n.Sqrt(n.Sqrt(n.Cast(width, to=TensorProto.FLOAT)))
    weights = n.MatMul(n.Div(q, root), n.Div(n.Transpose(k, perm=[0, 1, 3, 2]), root))
    o = n.merge(n.MatMul(n.softmax(weights, 4), v), 6, 8)
    return n.linear(n.Add(y, n.linear(o, 8, 12)), 12, 5)


@motif("6 8", opset=14, batch=BATCH, fixed=True)
def zeros_by_shape_arithmetic(n: Net) -> str:  # a tensor of another's size keeps its channels
    y = n.Relu(first(n))
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])
    y = n.conv(n.Add(y, n.ConstantOfShape(n.Shape(y), value=value)), 8, 6)
    count = n.Cast(n.Gather(n.Shape(y), n.const(np.int64(0))), to=TensorProto.FLOAT)
    y = n.Div(n.reduce("ReduceSum", n.reduce("ReduceSum", y, 3), 2), count)
    return n.Relu(n.conv(y, 6, 5, 1))


@motif("6 8")
def flatten_by_shape_arithmetic(n: Net) -> str:
    y = n.Relu(n.conv(n.Relu(first(n)), 8, 6))
    batch = n.unsqueeze(n.Gather(n.Shape(y), n.const(np.int64(0))), 0)
    y = n.Reshape(n.GlobalAveragePool(y), n.Concat(batch, n.ints(-1), axis=0))
    return n.Gemm(y, n.weight(6, 5))


@motif("6 8", opset=13)
def constants_in_all_forms(n: Net) -> str:
    weight = numpy_helper.from_array(np.asarray(n.random.normal(size=(8, 3, 3, 3)), np.float32))
    y = n.Conv(n.input("x", 3, 8, 8), n.Constant(value=weight), pads=[1] * 4)
    y = n.Mul(n.Add(y, n.Constant(value_float=0.5)), n.Constant(value_float=2.0))
    shift = n.Unsqueeze(n.Constant(value_floats=[0.1 * i for i in range(8)]), n.ints(1, 2))
    y = n.Relu(n.Add(y, shift))
    row = n.Gather(n.conv(y, 8, 6), n.Constant(value_int=3), axis=2)
    y = n.Reshape(row, n.Constant(value_ints=[-1, 6, 4, 2]))
    return n.head(y, 6)


@motif("8")
def sparse_constant(n: Net) -> str:  # read as it is: what it meets stays
    y = n.Flatten(n.GlobalAveragePool(n.conv(n.Relu(first(n)), 8, 6)))
    values = helper.make_tensor("v", TensorProto.FLOAT, [3], [1.5, -1.0, 2.0])
    places = helper.make_tensor("i", TensorProto.INT64, [3], [0, 9, 29])
    sparse = n.Constant(sparse_value=helper.make_sparse_tensor(values, places, [6, 5]))
    return n.Tanh(n.Gemm(y, sparse))


@motif("6 8")
def weights_behind_nodes(n: Net) -> str:  # stored otherwise than used: folded when read
    half = n.const(n.random.normal(size=(8, 27)).astype(np.float16))
    kernel = n.Reshape(n.Cast(half, to=TensorProto.FLOAT), n.ints(8, 3, 3, 3))
    y = n.Relu(n.Conv(n.input("x", 3, 8, 8), kernel, pads=[1] * 4))
    y = n.conv(y, 8, 6)
    y = n.Flatten(n.GlobalAveragePool(y))
    return n.MatMul(y, n.Transpose(n.weight(5, 6), perm=[1, 0]))


@motif("6")
def output_in_the_middle(n: Net) -> list[str]:
    y = n.Relu(first(n))
    return [n.head(n.conv(y, 8, 6), 6), y]


@motif("6 8", ir=3)
def weights_listed_as_inputs(n: Net) -> str:
    return n.head(n.Relu(n.conv(n.Relu(first(n)), 8, 6)), 6)


@motif("6 8")
def choice_by_if(n: Net) -> str:  # the bodies capture a tensor
    y = n.Relu(n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6)), 6, 8))
    total = n.ReduceSum(y, keepdims=0)
    bodies = {}
    for branch, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        info = helper.make_tensor_value_info(f"{branch}_y", TensorProto.FLOAT, None)
        node = helper.make_node(op, [y], [f"{branch}_y"], name=branch)
        bodies[branch] = helper.make_graph([node], branch, [], [info])
    chosen = n.If(n.Greater(total, n.scalar(0)), **bodies)
    return n.conv(chosen, 8, 4)


@motif("6")
def result_of_unknown_size(n: Net) -> list[str]:
    y = n.Relu(n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6)), 6, 8))
    where = n.Cast(n.NonZero(y), to=TensorProto.FLOAT)
    return [n.conv(y, 8, 4), n.reduce("ReduceMax", where, 1)]


@motif("6")
def size_known_when_run(n: Net) -> str:
    y = n.Relu(n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6)), 6, 8))
    y = n.Compress(y, n.const(np.arange(8) % 3 > 0), axis=3)
    return n.conv(y, 8, 4)


@motif("6", fixed=True)
def unknown_op(n: Net) -> str:  # nobody knows what it does to channels: they stay
    y = n.Relu(n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6)), 6, 8))
    y = n.ReverseSequence(y, n.ints(5, 8), batch_axis=0, time_axis=1)
    return n.conv(y, 8, 4)


@motif("6")
def positions_of_channels(n: Net) -> list[str]:
    y = n.conv(n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6)), 6, 8)
    best, where = n.TopK(y, n.ints(3), axis=1, outs=2)
    return [n.conv(best, 3, 4), where, n.ArgMax(y, axis=1)]


@motif("6 8")
def positions_of_pixels(n: Net) -> list[str]:  # the channels themselves are free
    y = n.conv(n.Relu(first(n)), 8, 6)
    best, _ = n.TopK(y, n.ints(3), axis=3, outs=2)
    return [n.conv(best, 6, 4), n.ArgMax(n.conv(y, 6, 3), axis=2, keepdims=0)]


@motif("4 6")
def tiled(n: Net) -> str:
    y = n.Relu(first(n, 4))
    y = n.conv(n.Tile(y, n.ints(1, 3, 1, 1)), 12, 6)
    y = n.Tile(n.GlobalAveragePool(y), n.ints(1, 1, 2, 2))
    return n.conv(y, 6, 4)


@motif("6 8", opset=13)
def masked_by_where(n: Net) -> str:
    y = first(n)
    y = n.Where(n.Greater(y, n.scalar(0.1)), y, n.Mul(y, n.weight(8, 1, 1)))
    y = n.Max(n.conv(y, 8, 6), n.scalar(0.0), n.weight(6, 1, 1))
    return n.head(n.Where(n.Less(y, n.weight(1, 6, 1, 1)), n.scalar(0), y), 6)


@motif("12 6", dtype=np.float16)
def half_precision(n: Net) -> str:
    y = n.Relu(n.linear(n.input("x", 6, 10), 10, 12))
    return n.linear(n.Relu(n.linear(y, 12, 6)), 6, 5)


@motif("12 2x4 2x4", dtype=np.float64)
def double_precision(n: Net) -> str:
    y = n.linear(n.input("x", 6, 10), 10, 12)
    q, k, v = (n.heads(n.linear(y, 12, 8), 6, 2, 4, key=i == 1) for i in range(3))
    y = n.Add(y, n.linear(n.merge(n.attend(q, k, v), 6, 8), 8, 12))
    return n.linear(y, 12, 5)


@motif("12 6", dtype=np.float16, opset=17)
def mixed_precision(n: Net) -> str:  # computed in single, stored in half
    y = n.Cast(n.input("x", 6, 10, dtype=np.float32), to=TensorProto.FLOAT16)
    y = n.Cast(n.linear(y, 10, 12), to=TensorProto.FLOAT)
    y = n.Cast(n.Relu(y), to=TensorProto.FLOAT16)
    return n.linear(n.Tanh(n.linear(y, 12, 6)), 6, 5)


@motif("4", opset=13, batch=1, fixed=True)
def nothing_but_batch_one(n: Net) -> str:  # the batch axis looks like any axis of length 1
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 4))
    y = n.Squeeze(n.GlobalAveragePool(y), n.ints(0, 2, 3))
    return n.Unsqueeze(n.MatMul(y, n.weight(4, 5)), n.ints(0))
