"""Products and sums of integers: their zero is the zero point, so a removed channel adds nothing.

Scales and zero points lie beside the tensors they belong to, so these operators number their inputs
differently from their floating-point kin, whose rules they share.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Any

from spa.graph.model import Node
from spa.labels import Image
from spa.rules import neutral
from spa.rules.contract import gemm, matrices
from spa.rules.contraction import of_convolution, of_product
from spa.rules.convolve import conv_group, conv_last, convolved, groups_left
from spa.rules.join import concat
from spa.rules.meet import still, together
from spa.rules.normalize import SOFTMAX, over, per_channel, summed_over
from spa.rules.reduce import reduced
from spa.rules.traits import Summed, trait
from spa.trace import MICROSOFT, Fixes, Op, Sizes, refit, rule


def _scales(op: Op, inputs: Collection[int], out: Image, axis: int) -> None:
    """Scales and zero points of one tensor: one number, or one per channel of the output."""
    for i in inputs:
        if not op.has(i):
            continue
        shape = op.shape(i)
        if op.decide(lambda shape=shape: prod(shape) == 1):  # type: ignore[misc]
            still(op, i, reason="scales a whole tensor")
        elif len(shape) == 1:
            maps = [q for p in out.over(axis) if (q := op.squash(p, (axis,))) is not None]
            per_channel(op, i, len(out.shape), maps[:1], "follows", axis)
        else:
            op.freeze(out, "scaled by several numbers per channel")


@rule("ConvInteger", note="one zero point, or one per channel")
def conv_integer(op: Op, x: Image, *_: Image) -> Image:  # as Conv
    made = convolved(op.facing(0, 1), x)
    still(op, 2)
    _scales(op, (3,), made, 1)
    return made


@rule("QLinearConv", note="one scale, or one per channel")
def qlinear_conv(op: Op, x: Image, *_: Image) -> Image:  # as Conv
    still(op, 1, 2, 6, 7)
    made = convolved(op.facing(0, 3, 8), x)
    _scales(op, (4, 5), made, 1)
    return made


@rule("QLinearConv", domain=MICROSOFT, note="channels second or last")
def qlinear_conv_of_runtime(op: Op, x: Image, *_: Image) -> Image:  # as Conv
    if not op.attr("channels_last", 0):
        return qlinear_conv(op, x)
    still(op, 1, 2, 6, 7)
    made = conv_last(op.facing(0, 3, 8), x)
    _scales(op, (4, 5), made, len(made.shape) - 1)
    return made


refit("ConvInteger")(conv_group)


@refit("QLinearConv")
@refit("QLinearConv", domain=MICROSOFT)
def qlinear_groups(new: Sizes) -> Fixes:
    return groups_left(new, 3)


def _product(op: Op, b: int, left: Collection[int], right: Collection[int]) -> Image:
    """Input 0 times input `b`, with scales of rows on the left and of columns on the right."""
    out = matrices(op.facing(0, b))
    rank = len(out.shape)
    _scales(op, left, out, rank - 2)
    _scales(op, right, out, rank - 1)
    return out


def _plus(op: Op, i: int, out: Image) -> Image:
    """A bias per column."""
    if op.has(i):
        per_channel(op, i, len(out.shape), out.over(len(out.shape) - 1), axis=len(out.shape) - 1)
    return out


@rule("MatMulInteger", note="one zero point, or one per row and column")
def matmul_integer(op: Op, *_: Image) -> Image:  # as MatMul
    return _product(op, 1, (2,), (3,))


@rule("QLinearMatMul", note="one scale, or one per row and column")
def qlinear_matmul(op: Op, *_: Image) -> Image:  # as MatMul
    still(op, 6, 7)
    return _product(op, 3, (1, 2), (4, 5))


@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def to_float(op: Op, *_: Image) -> Image:  # as MatMul
    return _plus(op, 6, _product(op, 1, (2, 4), (3, 5)))


@rule("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_matmul(op: Op, *_: Image) -> Image:  # as MatMul
    if op.is_const(0):  # its range is that of all that is stored
        still(op, *range(len(op.x)), reason="a stored tensor is scaled as a whole")
        return op.frozen()
    return _plus(op, 4, _product(op, 1, (), (2, 3)))


@rule("QGemm", domain=MICROSOFT)
def qgemm(op: Op, *_: Image) -> Image:  # as Gemm
    still(op, 1, 2, 7, 8)
    out = gemm(op.facing(0, 3, 6))
    _scales(op, (4, 5), out, 1)
    return out


@rule("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_nary(op: Op, *_: Image) -> Image:  # *, * -> *
    still(op, 1, 2, 4, 5, 6, 7)
    return Image(op.out(), together(op.facing(0, 3), (0, 1), len(op.out())))


def _plus_nothing(node: Node, end: int) -> list[neutral.Step] | None:
    """The same sum, of the other one and of what stands for zero: it scales as it did."""
    zero = (*node.inputs, *[""] * 8)[end + 2]
    if not zero:
        return None
    inputs = (*node.inputs[:end], zero, *node.inputs[end + 1 :])
    return [neutral.Step(node.op, inputs, node.outputs, node.attrs, node.domain)]


trait("QLinearAdd", domain=MICROSOFT, begins=Summed(_plus_nothing, operands=(0, 3)))


@rule("QLinearLeakyRelu", "QLinearSigmoid", domain=MICROSOFT)
def qlinear_unary(op: Op, *_: Image) -> Image:  # * -> *
    still(op, 1, 2, 3, 4)
    return op.like(op.operand(0))


@rule("QLinearWhere", domain=MICROSOFT)
def qlinear_where(op: Op, *_: Image) -> Image:  # *, *, * -> *
    still(op, 2, 3, 5, 6, 7, 8)
    return Image(op.out(), together(op.facing(0, 1, 4), (0, 1, 2), len(op.out())))


@rule("QLinearSoftmax", domain=MICROSOFT, lossy="along its axis; exact along others")
def qlinear_softmax(op: Op, *_: Image) -> Image:  # * -> *
    still(op, 1, 2, 3, 4)
    return over(op, summed_over(op, op.attr("opset")), SOFTMAX)


@rule("QLinearReduceMean", domain=MICROSOFT, lossy="over channels, of which some are gone")
def qlinear_mean(op: Op, *_: Image) -> Image:  # a b -> a
    still(op, 1, 2, 3, 4)
    return reduced(op.facing(0), lossy=True)


trait("QLinearReduceMean", domain=MICROSOFT, neutral=neutral.summed_bytes)


@rule("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_pool(op: Op, x: Image, *_: Image) -> Image:  # n c * -> n c *
    still(op, 1, 2, 3, 4)
    channels = len(x.shape) - 1 if op.attr("channels_last", 0) else 1
    return op.like(op.only(x, 0, channels, reason="pooled"))


@rule("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(op: Op, *_: Image) -> Image:  # a, b -> (a b)
    parts = range(2, len(op.x), 3)
    still(op, 0, 1, *(i for i in range(2, len(op.x)) if i not in parts))
    return concat(op.facing(*parts))


trait("ConvInteger", "MatMulInteger", bytes=((0, 1, 3),), quantised=((0, -1, 2), (1, -1, 3)))
LINEAR: dict[str, Any] = {"bytes": ((0, 3, 5),), "quantised": ((0, 1, 2), (3, 4, 5))}
trait("QLinearConv", "QLinearMatMul", zero=7, linear="multiplies", **LINEAR)
trait("QLinearConv", domain=MICROSOFT, zero=7, linear="multiplies", **LINEAR)
trait("QGemm", domain=MICROSOFT, zero=8, linear="multiplies", **LINEAR)
trait("QLinearConv", summed=(8,))
trait("QLinearConv", domain=MICROSOFT, summed=(8,))
trait("QGemm", domain=MICROSOFT, summed=(6,))
trait("QLinearAdd", "QLinearMul", domain=MICROSOFT, zero=7, quantised=((0, 1, 2), (3, 4, 5)))
trait("QLinearWhere", domain=MICROSOFT, zero=8, quantised=((1, 2, 3), (4, 5, 6)))
trait("QLinearConcat", domain=MICROSOFT, zero=1)
for alone in ("LeakyRelu", "Sigmoid", "Softmax", "ReduceMean", "AveragePool", "GlobalAveragePool"):
    trait(f"QLinear{alone}", domain=MICROSOFT, zero=4, quantised=((0, 1, 2),))
trait("QLinearSoftmax", domain=MICROSOFT, neutral=neutral.bounded_bytes)
trait(
    "MatMulIntegerToFloat", domain=MICROSOFT, bytes=((0, 1, 5),), quantised=((0, 2, 4), (1, 3, 5))
)
trait(
    "DynamicQuantizeMatMul",
    domain=MICROSOFT,
    decides=(0,),
    linear="multiplies",
    bytes=((0, 1, 3),),
    quantised=((1, 2, 3),),
)
trait("ConvInteger", macs=of_convolution())
trait("QLinearConv", macs=of_convolution(3))
trait("QLinearConv", domain=MICROSOFT, macs=of_convolution(3))
trait("MatMulInteger", "QLinearMatMul", macs=of_product)
for name in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm"):
    trait(name, domain=MICROSOFT, macs=of_product)
