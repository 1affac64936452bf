"""Products of stored bytes: exact, in float64; between bytes there is no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spa.torch.ops.convolve import conv
from spa.torch.ops.quantize import dequantize_linear, quantize_linear, spread
from spa.torch.registry import ALL, MICROSOFT, op

Ints = Sequence[int]


def centred(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """Bytes less their zero point, in float64, which holds all that sums of bytes give."""
    wide = x.double()
    return wide if zero is None else wide - spread(zero.double(), x, axis)


@op("ConvInteger", steer=ALL)
def conv_integer(
    x: Tensor,
    w: Tensor,
    zx: Tensor | None = None,
    zw: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    made = conv(
        centred(x, zx, 1),
        centred(w, zw, 0),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return made.to(torch.int32)


def _columns(x: Tensor, zero: Tensor | None, last: bool) -> Tensor:
    """As `centred`; a row of zero points is one per row of the left, per column of the right."""
    if zero is None or zero.numel() == 1 or zero.dim() > 1:
        return x.double() if zero is None else x.double() - zero.double()
    return x.double() - (zero.double() if last else zero.double()[:, None])


@op("MatMulInteger", steer=ALL)
def matmul_integer(
    a: Tensor, b: Tensor, za: Tensor | None = None, zb: Tensor | None = None
) -> Tensor:
    return (_columns(a, za, False) @ _columns(b, zb, True)).to(torch.int32)


@op("QLinearMatMul", steer=ALL)
def qlinear_matmul(
    a: Tensor, sa: Tensor, za: Tensor, b: Tensor, sb: Tensor, zb: Tensor, sy: Tensor, zy: Tensor
) -> Tensor:
    exact = _columns(a, za, False) @ _columns(b, zb, True)
    left = sa.double() if sa.numel() == 1 or sa.dim() > 1 else sa.double()[:, None]
    return requantized(exact * left * sb.double(), sy, zy)


def requantized(exact: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Back to bytes."""
    by = exact / scale.double()
    kind = torch.uint8 if zero is None else zero.dtype
    info = torch.iinfo(kind)
    shift = 0 if zero is None else zero.double()
    return (by.round() + shift).clamp(info.min, info.max).to(kind)


@op("QLinearConv", steer=ALL)
def qlinear_conv(
    x: Tensor,
    sx: Tensor,
    zx: Tensor,
    w: Tensor,
    sw: Tensor,
    zw: Tensor,
    sy: Tensor,
    zy: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    channels_last: int = 0,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    held = x.movedim(-1, 1) if channels_last else x
    exact = conv(
        centred(held, zx, 1),
        centred(w, zw, 0),
        None if b is None else b.double(),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    by = sx.double() * sw.double()
    by = by.reshape(-1, *[1] * (w.dim() - 2)) if by.numel() > 1 else by.reshape(())
    made = requantized(exact * by, sy, zy)
    return made.movedim(1, -1) if channels_last else made


op("QLinearConv", domain=MICROSOFT, steer=ALL)(qlinear_conv)


def pair(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """What bytes stand for."""
    return dequantize_linear(x, scale, zero)


@op("QLinearAdd", domain=MICROSOFT, steer=ALL)
def qlinear_add(
    a: Tensor,
    sa: Tensor,
    za: Tensor | None,
    b: Tensor,
    sb: Tensor,
    zb: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
) -> Tensor:
    return quantize_linear(pair(a, sa, za) + pair(b, sb, zb), sy, zy, soft=False, kinds=())


@op("QLinearMul", domain=MICROSOFT, steer=ALL)
def qlinear_mul(
    a: Tensor,
    sa: Tensor,
    za: Tensor | None,
    b: Tensor,
    sb: Tensor,
    zb: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
) -> Tensor:
    return quantize_linear(pair(a, sa, za) * pair(b, sb, zb), sy, zy, soft=False, kinds=())


@op("QLinearSigmoid", domain=MICROSOFT, steer=ALL)
def qlinear_sigmoid(
    x: Tensor, sx: Tensor, zx: Tensor | None, sy: Tensor, zy: Tensor | None = None
) -> Tensor:
    return quantize_linear(pair(x, sx, zx).sigmoid(), sy, zy, soft=False, kinds=())


@op("QLinearLeakyRelu", domain=MICROSOFT, steer=ALL)
def qlinear_leaky_relu(
    x: Tensor,
    sx: Tensor,
    zx: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Tensor:
    made = torch.nn.functional.leaky_relu(pair(x, sx, zx), alpha)
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QLinearSoftmax", domain=MICROSOFT, steer=ALL)
def qlinear_softmax(
    x: Tensor,
    sx: Tensor,
    zx: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
    *,
    axis: int = -1,
    opset: int = 13,
) -> Tensor:
    held = pair(x, sx, zx)
    if opset < 13:
        made = held.flatten(axis).softmax(-1).reshape(x.shape) if axis else held.softmax(-1)
    else:
        made = held.softmax(axis)
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QLinearGlobalAveragePool", domain=MICROSOFT, steer=ALL)
def qlinear_global_average_pool(
    x: Tensor, sx: Tensor, zx: Tensor, sy: Tensor, zy: Tensor, *, channels_last: int = 0
) -> Tensor:
    axes = tuple(range(1, x.dim() - 1)) if channels_last else tuple(range(2, x.dim()))
    made = pair(x, sx, zx).mean(axes, keepdim=True)
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QLinearConcat", domain=MICROSOFT, steer=ALL)
def qlinear_concat(sy: Tensor, zy: Tensor, *parts: Tensor, axis: int) -> Tensor:
    held = [pair(*parts[k : k + 3]) for k in range(0, len(parts), 3)]
    return quantize_linear(torch.cat(held, axis), sy, zy, soft=False, kinds=())


@op("QLinearWhere", domain=MICROSOFT, steer=ALL)
def qlinear_where(
    condition: Tensor,
    a: Tensor,
    sa: Tensor,
    za: Tensor,
    b: Tensor,
    sb: Tensor,
    zb: Tensor,
    sy: Tensor,
    zy: Tensor,
) -> Tensor:
    made = torch.where(condition, pair(a, sa, za), pair(b, sb, zb))
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QLinearReduceMean", domain=MICROSOFT, steer=ALL)
def qlinear_reduce_mean(
    x: Tensor,
    sx: Tensor,
    zx: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
    *,
    axes: Ints,
    keepdims: int = 1,
) -> Tensor:
    made = pair(x, sx, zx).mean(tuple(axes), keepdim=bool(keepdims))
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("MatMulIntegerToFloat", domain=MICROSOFT, steer=(0, 1, 2, 3, 4, 5))
def matmul_integer_to_float(
    a: Tensor,
    b: Tensor,
    sa: Tensor,
    sb: Tensor,
    za: Tensor | None = None,
    zb: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    exact = _columns(a, za, False) @ _columns(b, zb, True)
    made = (exact * sa.double() * sb.double()).to(sa.dtype)
    return made if bias is None else made + bias


@op("DynamicQuantizeMatMul", domain=MICROSOFT, steer=(1, 2, 3))
def dynamic_quantize_matmul(
    x: Tensor, w: Tensor, s: Tensor, z: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Gradients pass the rounding of the data."""
    held = (_columns(w, z, True) * s.double()).to(x.dtype)
    made = rounded_to_bytes(x) @ held
    return made if bias is None else made + bias


def rounded_to_bytes(x: Tensor) -> Tensor:
    """To the nearest of 256 values over the range of the data and 0, straight through."""
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    made = (((x.detach() / scale).round() + zero).clamp(0, 255) - zero) * scale
    return x + (made - x.detach())
