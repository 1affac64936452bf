"""Padding and cutting at the borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import op
from spa.torch.values import ints

Ints = Sequence[int]


@op("Pad", until=10, moves=True)
def pad_2(
    x: Tensor,
    *,
    mode: str = "constant",
    pads: Ints | None = None,
    paddings: Ints | None = None,
    value: float = 0.0,
) -> Tensor:
    return _padded(x, pads or paddings or [], range(x.dim()), mode, value)


@op("Pad", since=11, host=(1, 2, 3), moves=True)
def pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    along = range(x.dim()) if axes is None else [a % x.dim() for a in ints(axes)]
    fill = 0.0 if value is None else value.reshape(-1)[0].item()
    return _padded(x, pads.tolist(), along, mode, fill)


def _padded(x: Tensor, pads: Ints, axes: Ints, mode: str, value: float) -> Tensor:
    number = len(axes)
    around = {
        a: (pads[k], pads[k + number]) for k, a in enumerate(axes) if pads[k] or pads[k + number]
    }
    if not around:
        return x
    if mode == "constant":
        flat = [p for a in range(x.dim() - 1, min(around) - 1, -1) for p in around.get(a, (0, 0))]
        return functional.pad(x, flat, "constant", value)
    for axis, (before, after) in around.items():
        x = x.index_select(axis, _source(x.shape[axis], before, after, mode).to(x.device))
    return x


def _source(size: int, before: int, after: int, mode: str) -> Tensor:
    """Which place along an axis each place of the padded one is a copy of."""
    at = torch.arange(-before, size + after)
    if mode == "edge" or size == 1:
        return at.clamp(0, size - 1)
    if mode == "wrap":
        return at % size
    period = 2 * (size - 1)
    at = at % period
    return torch.where(at < size, at, period - at)


@op("CenterCropPad", host=(1,), moves=True)
def center_crop_pad(x: Tensor, shape: Tensor, *, axes: Ints | None = None) -> Tensor:
    along = range(x.dim()) if axes is None else [a % x.dim() for a in axes]
    for axis, wanted in zip(along, ints(shape), strict=True):
        size = x.shape[axis]
        if wanted <= size:
            x = x.narrow(axis, (size - wanted) // 2, wanted)
        else:
            before = (wanted - size) // 2
            x = _padded(x, [before, wanted - size - before], [axis], "constant", 0.0)
    return x
