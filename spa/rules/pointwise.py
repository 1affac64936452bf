"""Operators that work element by element: whatever meets at one place is one channel."""

from __future__ import annotations

from spa.labels import Image
from spa.rules.meet import still, together
from spa.rules.traits import trait
from spa.trace import Op, rule

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitCast BitwiseNot Cast CastLike Ceil Celu Clip Cos
    Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish
    Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish
    Tan Tanh ThresholdedRelu
"""
NARY = """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less
    LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum SwiGLU Where Xor
"""
RANDOM = "random numbers are drawn anew"


@rule(*UNARY.split())
def unary(op: Op, *_: Image) -> Image:  # * -> *
    return op.like(op.operand(0))


@rule(*NARY.split())
def nary(op: Op, *_: Image) -> Image:  # *, * -> *  under broadcasting
    inputs = range(len(op.node.inputs))
    return Image(op.out(), together(op, inputs, len(op.out()), makes=True))


ORDER = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
trait("Equal", *ORDER, "Mod", decides=(0, 1))
trait("Equal", compares="equal")
trait(*ORDER, compares="larger")
trait("And", "Clip", "Max", "Min", "Or", "Where", chooses=True)
trait("Where", condition=0)
trait("Not", negates=True)
trait("Add", "Sum", linear="adds")
trait("Sub", linear="subtracts")
trait("Mul", linear="scales")
trait("Div", linear="divides")
trait("Identity", linear="reshapes", hands_on=True)
trait("Ceil", "Floor", "Round", "Shrink", "Sign", "ThresholdedRelu", decides=(0,))
trait("Ceil", "Floor", "Round", rounds=True)
trait("Abs", "Ceil", "Clip", "Floor", "Relu", "Round", "Sign", idempotent=True)
FRACTIONS = frozenset((1, 10, 11, 14, 15, 16))
"""Element types that hold fractions: a Cast to any other rounds."""
trait("Sigmoid", "HardSigmoid", bounded=True)
trait("Cast", casts=True)
trait("Cast", decides=(0,), rounds=True, where=lambda node: node.attrs.get("to") not in FRACTIONS)


@rule("Dropout", note="exact unless it drops at random, in training mode")
def dropout(op: Op, *_: Image) -> list[Image]:  # * -> *, *
    still(op, 1, 2)
    training = op.value(2) if op.has(2) else False
    if training is None or training:
        op.lossy(RANDOM)
    x = op.operand(0)
    return [op.like(x, k) for k in range(op.outputs)]


@rule("RandomNormalLike", "RandomUniformLike", "Bernoulli", lossy=RANDOM)
def random_like(op: Op, x: Image) -> Image:  # * -> *
    if x.axes:
        op.lossy(RANDOM)
    return op.like(x)


trait("RandomNormalLike", "RandomUniformLike", "Bernoulli", draws=True)
trait("Dropout", draws=True, where=lambda node: len(node.inputs) > 2 and bool(node.inputs[2]))
trait("Dropout", linear="reshapes", hands_on=True)
