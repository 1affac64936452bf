"""Quantisers, straight through: rounding passes gradients on, clamping stops them."""

from __future__ import annotations

import torch
from torch import Tensor

from spa.torch.registry import MICROSOFT, op
from spa.torch.values import BITS, DTYPES, dtype_of


def rounded(x: Tensor) -> Tensor:
    """Rounded to even, with the gradient of the identity."""
    return x + (x.round() - x).detach() if x.requires_grad else x.round()


def bounds(dtype: torch.dtype, elem_type: int = 0) -> tuple[float, float]:
    """Least and greatest value of what is quantised to."""
    if elem_type in BITS:
        return BITS[elem_type]
    info = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return info.min, info.max


def spread(s: Tensor, x: Tensor, axis: int, block: int = 0) -> Tensor:
    """A scale per tensor, per place along an axis, or per block of them, as it meets a tensor."""
    if s.numel() == 1 and not block:
        return s.reshape(())
    if block or s.dim() > 1:
        place = axis % x.dim()
        each = block or -(-x.shape[place] // s.shape[place])
        return s.repeat_interleave(each, place).narrow(place, 0, x.shape[place])
    shape = [1] * x.dim()
    shape[axis] = -1
    return s.reshape(shape)


@op("QuantizeLinear", steer=(1, 2))
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    soft: bool,
    kinds: tuple[int, ...],
) -> Tensor:
    kind = (kinds[2] if len(kinds) > 2 else 0) or output_dtype
    dtype = DTYPES[kind or 2] if zero is None or kind else zero.dtype
    by = spread(scale, x, axis, block_size)
    exact = x / by if x.is_floating_point() else x.to(by.dtype) / by
    if dtype.is_floating_point:
        low, high = bounds(dtype)
        kept = exact.clamp(low, high) if saturate else exact
        return kept + (kept.to(dtype).to(kept.dtype) - kept).detach() if soft else kept.to(dtype)
    low, high = bounds(dtype, kind)
    made = rounded(exact)
    if zero is not None:
        made = made + spread(zero, x, axis, block_size)
    made = made.clamp(low, high)
    return made if soft else made.to(dtype)


@op("DequantizeLinear", steer=(1, 2))
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    by = spread(scale, x, axis, block_size)
    centred = x.to(scale.dtype)
    if zero is not None:
        centred = centred - spread(zero, x, axis, block_size).to(scale.dtype)
    made = centred * by
    return made.to(dtype_of(output_dtype, "a scale")) if output_dtype else made


op("QuantizeLinear", domain=MICROSOFT, steer=(1, 2))(quantize_linear)
op("DequantizeLinear", domain=MICROSOFT, steer=(1, 2))(dequantize_linear)


@op("DynamicQuantizeLinear", steer=(0,))
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To bytes, over the range of the data and 0."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    made = ((x / scale).round() + zero).clamp(0, 255)
    return made.to(torch.uint8), scale, zero.to(torch.uint8)
