"""Operators on single elements, with broadcasting."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import ALL, op
from spa.torch.values import BITS, dtype_of

op("Add")(torch.add)
op("Sub")(torch.sub)
op("Mul")(torch.mul)
op("Abs")(torch.abs)
op("Acos")(torch.acos)
op("Acosh")(torch.acosh)
op("Asin")(torch.asin)
op("Asinh")(torch.asinh)
op("Atan")(torch.atan)
op("Atanh")(torch.atanh)
op("Ceil")(torch.ceil)
op("Cos")(torch.cos)
op("Cosh")(torch.cosh)
op("Erf")(torch.erf)
op("Exp")(torch.exp)
op("Floor")(torch.floor)
op("Log")(torch.log)
op("Neg")(torch.neg)
op("Reciprocal")(torch.reciprocal)
op("Round")(torch.round)
op("Sin")(torch.sin)
op("Sinh")(torch.sinh)
op("Sqrt")(torch.sqrt)
op("Tan")(torch.tan)
op("Tanh")(torch.tanh)
op("Sigmoid")(torch.sigmoid)
op("Equal", steer=ALL)(torch.eq)
op("Greater", steer=ALL)(torch.gt)
op("GreaterOrEqual", steer=ALL)(torch.ge)
op("Less", steer=ALL)(torch.lt)
op("LessOrEqual", steer=ALL)(torch.le)
op("And", steer=ALL)(torch.logical_and)
op("Or", steer=ALL)(torch.logical_or)
op("Xor", steer=ALL)(torch.logical_xor)
op("Not", steer=ALL)(torch.logical_not)
op("IsNaN", steer=ALL)(torch.isnan)
op("BitwiseAnd")(torch.bitwise_and)
op("BitwiseOr")(torch.bitwise_or)
op("BitwiseXor")(torch.bitwise_xor)
op("BitwiseNot")(torch.bitwise_not)


@op("Sign")
def sign(x: Tensor) -> Tensor:
    return torch.sign(x)


@op("Div")
def div(x: Tensor, y: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    if x.is_floating_point() or x.is_complex():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


@op("Pow", steer=(1,))
def power(x: Tensor, y: Tensor) -> Tensor:
    """In the type of the base."""
    if y.numel() == 1 and y.dim() <= x.dim() and not y.requires_grad:
        return torch.pow(x, y.item()).to(x.dtype)
    return torch.pow(x, y).to(x.dtype)


@op("Mod")
def mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


@op("BitShift")
def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    wide, by = x.to(torch.int64), y.to(torch.int64)
    return (wide << by if direction == "LEFT" else wide >> by).to(x.dtype)


@op("IsInf", steer=ALL)
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    found = torch.isinf(x)
    if not detect_negative:
        found &= x > 0
    return found if detect_positive else found & (x < 0)


@op("Where", steer=(0,))
def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


@op("Sum")
def total(x: Tensor, *more: Tensor) -> Tensor:
    for each in more:
        x = x + each
    return x


@op("Mean")
def mean(x: Tensor, *more: Tensor) -> Tensor:
    return total(x, *more) / (1 + len(more))


@op("Max")
def largest(x: Tensor, *more: Tensor) -> Tensor:
    for each in more:
        x = torch.maximum(x, each)
    return x


@op("Min")
def least(x: Tensor, *more: Tensor) -> Tensor:
    for each in more:
        x = torch.minimum(x, each)
    return x


@op("Clip", until=10)
def clip_6(x: Tensor, *, min: float = -math.inf, max: float = math.inf) -> Tensor:
    return clamped(x, min, max)


@op("Clip", since=11, host=(1, 2), bounded=True)
def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return clamped(x, None if low is None else low.item(), None if high is None else high.item())


def clamped(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Between bounds, of which the upper one wins; by the kernels with the cheapest gradient."""
    if low is None and high is None:
        return x
    if x.is_floating_point() and low is not None:
        if low == 0 and (high is None or high == math.inf):
            return torch.relu(x)
        if high is not None and low < high and x.dtype in (torch.float32, torch.float64):
            return functional.hardtanh(x, low, high)
    return torch.clamp(x, low, high)


@op("Cast", moves=True)
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Float8 is clamped where it saturates; integers that torch holds in bytes wrap around."""
    return _as(x, dtype_of(to, "a cast"), to, saturate)


@op("CastLike", moves=True, steer=(1,))
def cast_like(
    x: Tensor,
    other: Tensor,
    *,
    saturate: int = 1,
    round_mode: str = "up",
    kinds: tuple[int, ...],
) -> Tensor:
    return _as(x, other.dtype, kinds[1], saturate)


def _as(x: Tensor, dtype: torch.dtype, kind: int, saturate: int) -> Tensor:
    if kind in BITS:
        low, high = BITS[kind]
        return ((x.to(torch.int64) - low) % (high - low + 1) + low).to(dtype)
    if dtype == x.dtype:
        return x
    if dtype.is_floating_point and dtype.itemsize == 1 and x.dtype != torch.bool:
        return _as_float8(x, dtype, saturate)
    return x.to(dtype)


def _as_float8(x: Tensor, dtype: torch.dtype, saturate: int) -> Tensor:
    """Beyond the greatest value that value where it saturates, and else what is no number."""
    bound = torch.finfo(dtype).max
    wide = x.float()
    finite = wide.clamp(-bound, bound)
    if saturate:
        return torch.where(wide.isnan(), wide, finite).to(dtype)
    if dtype == torch.float8_e4m3fn:  # has no infinity, and torch saturates
        wide = wide.masked_fill(wide.abs() > bound * (1 + 1 / 28), math.nan)
    return wide.to(dtype)


@op("Relu")
def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


@op("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return functional.leaky_relu(x, alpha)


@op("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@op("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.elu(x, alpha)


@op("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.celu(x, alpha)


@op("Selu")
def selu(
    x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Tensor:
    return gamma * functional.elu(x, alpha)


@op("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    if beta == 0.5 and abs(alpha - 1 / 6) < 1e-6:
        return functional.hardsigmoid(x)
    return clamped(alpha * x + beta, 0.0, 1.0)


@op("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    return functional.hardswish(x)


@op("Softplus")
def softplus(x: Tensor) -> Tensor:
    return functional.softplus(x)


@op("Softsign")
def softsign(x: Tensor) -> Tensor:
    return functional.softsign(x)


@op("Mish")
def mish(x: Tensor) -> Tensor:
    return functional.mish(x)


@op("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


@op("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


@op("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@op("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return functional.gelu(x, approximate=approximate)


@op("Softmax", until=12)
def softmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all axes from `axis` on, taken as one."""
    return _rows(x, axis).softmax(1).reshape(x.shape)


@op("LogSoftmax", until=12)
def log_softmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    return _rows(x, axis).log_softmax(1).reshape(x.shape)


def _rows(x: Tensor, axis: int) -> Tensor:
    """A matrix whose columns are all axes from `axis` on."""
    return x.reshape(math.prod(x.shape[: axis % max(1, x.dim())]), -1)


@op("Softmax", since=13)
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


@op("LogSoftmax", since=13)
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, axis)


@op("Hardmax", until=12, steer=ALL)
def hardmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    return hardmax(_rows(x, axis)).reshape(x.shape)


@op("Hardmax", since=13, steer=ALL)
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    first = x.argmax(axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, first, 1)
