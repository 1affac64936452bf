"""Convolutions and what slides over windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.ops.windows import Window, covered, padded, window
from spa.torch.registry import MICROSOFT, op
from spa.torch.values import ints

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
SPREAD = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
MAXIMUM: dict[int, Callable[..., Any]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
Ints = Sequence[int]


@op("Conv")
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Uneven padding is laid around the input first."""
    rank = w.dim() - 2
    step, reach = strides or 1, dilations or 1
    if auto_pad == "NOTSET":
        if pads is None:
            return CONVOLVE[rank](x, w, b, step, 0, reach, group)
        if pads[:rank] == pads[rank:]:
            return CONVOLVE[rank](x, w, b, step, pads[:rank], reach, group)
    how = window(w.shape[2:], strides, pads, dilations, auto_pad, x.shape[2:])
    return CONVOLVE[rank](padded(x, how.pads), w, b, how.strides, 0, how.dilations, group)


@op("ConvTranspose")
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """All that the kernel reaches is made; then padding is cut off, or more laid around it."""
    rank = w.dim() - 2
    step, reach = list(strides or [1] * rank), list(dilations or [1] * rank)
    more = list(output_padding or [0] * rank)
    span = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], step, w.shape[2:], reach, strict=True)
    ]
    if output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = output_shape or [n * s for n, s in zip(x.shape[2:], step, strict=True)]
        total = [a + p - b for a, p, b in zip(span, more, list(wanted)[-rank:], strict=True)]
        less = [t // 2 if t >= 0 else -(-t // 2) for t in total]
        rest = [t - p for t, p in zip(total, less, strict=True)]
        before, after = (less, rest) if auto_pad != "SAME_LOWER" else (rest, less)
    else:
        both = list(pads or [0] * 2 * rank)
        before, after = both[:rank], both[rank:]
    made = SPREAD[rank](x, w, None, step, 0, 0, group, reach)
    cut = [-p for p in before], [o - p for o, p in zip(more, after, strict=True)]
    made = padded(made, (*cut[0], *cut[1]))
    return made if b is None else made + b.reshape(-1, *[1] * rank)


@op("MaxPool")
def max_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    """Integers are pooled in float64; places are counted in the whole tensor."""
    rank = len(kernel_shape)
    how = window(kernel_shape, strides, pads, dilations, auto_pad, x.shape[2:])
    if ceil_mode:
        how = covered(how, x.shape[2:])
    values = x if x.is_floating_point() else x.double()
    even = how.pads[:rank] == how.pads[rank:]
    if even and all(2 * p <= k for p, k in zip(how.pads, how.kernel, strict=False)):
        size, near = x.shape[2:], how.pads[:rank]
    else:
        values, near = padded(values, how.pads, -math.inf), (0,) * rank
        size = values.shape[2:]
    made = MAXIMUM[rank](values, how.kernel, how.strides, near, how.dilations, False, outputs > 1)
    if outputs == 1:
        return made if x.is_floating_point() else made.to(x.dtype)
    pooled, index = made
    place = _in_input(
        index, size, how.pads if size != x.shape[2:] else (0,) * 2 * rank, x.shape[2:]
    )
    if storage_order:
        place = _column_first(place, x.shape[2:])
    base = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(*x.shape[:2], *[1] * rank)
    return pooled.to(x.dtype), place + base * math.prod(x.shape[2:])


def _in_input(index: Tensor, size: Ints, pads: Ints, shape: Ints) -> Tensor:
    """Flat places of a padded picture as flat places of the picture."""
    found, rest = torch.zeros_like(index), index
    strides = [math.prod(size[k + 1 :]) for k in range(len(size))]
    for k, stride in enumerate(strides):
        at, rest = rest // stride - pads[k], rest % stride
        found = found * shape[k] + at
    return found


def _column_first(index: Tensor, shape: Ints) -> Tensor:
    found, rest, times = torch.zeros_like(index), index, 1
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    for k, stride in enumerate(strides):
        at, rest = rest // stride, rest % stride
        found = found + at * times
        times *= shape[k]
    return found


@op("AveragePool")
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    rank = len(kernel_shape)
    how = window(kernel_shape, strides, pads, dilations, auto_pad, x.shape[2:])
    even = how.pads[:rank] == how.pads[rank:] and not ceil_mode and set(how.dilations) == {1}
    if even and all(2 * p <= k for p, k in zip(how.pads, how.kernel, strict=False)):
        pool: Callable[..., Tensor] = {
            1: functional.avg_pool1d,
            2: functional.avg_pool2d,
            3: functional.avg_pool3d,
        }[rank]
        return pool(x, how.kernel, how.strides, how.pads[:rank], False, bool(count_include_pad))
    full = covered(how, x.shape[2:]) if ceil_mode else how
    counted = padded(torch.ones_like(x[:1, :1]), how.pads, float(bool(count_include_pad)))
    beyond = [b - a for a, b in zip(how.pads, full.pads, strict=True)]
    return _sums(padded(x, full.pads), full) / _sums(padded(counted, beyond), full)


def _sums(x: Tensor, how: Window) -> Tensor:
    """Sums over windows of what is padded already."""
    rank = len(how.kernel)
    ones = x.new_ones((1, 1, *how.kernel))
    flat = x.reshape(-1, 1, *x.shape[2:])
    made: Tensor = CONVOLVE[rank](flat, ones, None, how.strides, 0, how.dilations)
    return made.reshape(*x.shape[:2], *made.shape[2:])


@op("LpPool")
def lp_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    p: float = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    how = window(kernel_shape, strides, pads, dilations, auto_pad, x.shape[2:])
    how = covered(how, x.shape[2:]) if ceil_mode else how
    return _sums(padded(x, how.pads).abs() ** p, how) ** (1 / p)


@op("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@op("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


@op("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: float = 2) -> Tensor:
    return (x.abs() ** p).sum(tuple(range(2, x.dim())), keepdim=True) ** (1 / p)


@op("MaxUnpool", steer=(1,), host=(2,))
def max_unpool(
    x: Tensor,
    index: Tensor,
    shape: Tensor | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Places are counted in the tensor without padding; a larger one is filled at its start."""
    rank = len(kernel_shape)
    step, around = list(strides or [1] * rank), list(pads or [0] * 2 * rank)
    size = [
        (n - 1) * s - around[k] - around[k + rank] + kernel_shape[k]
        for k, (n, s) in enumerate(zip(x.shape[2:], step, strict=True))
    ]
    made = x.new_zeros(math.prod((*x.shape[:2], *size))).scatter(
        0, index.reshape(-1), x.reshape(-1)
    )
    made = made.reshape(*x.shape[:2], *size)
    if shape is None:
        return made
    wanted = ints(shape)[2:]
    return padded(made, (*[0] * rank, *[a - b for a, b in zip(wanted, size, strict=True)]))


@op("FusedConv", domain=MICROSOFT)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    from spa.torch.ops.activations import activate

    made = conv(
        x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides
    )
    return activate(made if z is None else made + z, activation, activation_params)


@op("NhwcConv", "NhwcFusedConv", domain=MICROSOFT)
def nhwc_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Channels last, in all but the weight of onnxruntime's CPU kernels."""
    return fused_conv(
        x.movedim(-1, 1),
        w,
        b,
        None if z is None else z.movedim(-1, 1),
        activation=activation,
        activation_params=activation_params,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    ).movedim(1, -1)
