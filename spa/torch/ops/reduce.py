"""Sums and the like, over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spa.torch.registry import op
from spa.torch.values import ints

Ints = Sequence[int]
Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    return x.double().mean(axes, keepdim=keep).to(x.dtype)


def _largest(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.numel() == 0:
        return _empty(x, axes, keep, False)
    return x.amax(axes, keepdim=keep)


def _least(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.numel() == 0:
        return _empty(x, axes, keep, True)
    return x.amin(axes, keepdim=keep)


def _empty(x: Tensor, axes: tuple[int, ...], keep: bool, top: bool) -> Tensor:
    """What is largest or least of nothing."""
    if x.dtype == torch.bool:
        bound: float = top
    elif x.is_floating_point():
        bound = float("inf") if top else float("-inf")
    else:
        bound = torch.iinfo(x.dtype).max if top else torch.iinfo(x.dtype).min
    along = {a % x.dim() for a in axes}
    shape = [1 if k in along else n for k, n in enumerate(x.shape) if keep or k not in along]
    return torch.full(shape, bound, dtype=x.dtype, device=x.device)


def _log(x: Tensor) -> Tensor:
    return x.log() if x.is_floating_point() else x.double().log().to(x.dtype)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _largest,
    "ReduceMin": _least,
    "ReduceProd": _product,
    "ReduceL1": lambda x, a, k: _sum(x.abs(), a, k),
    "ReduceL2": lambda x, a, k: (
        _sum(x * x, a, k).sqrt()
        if x.is_floating_point()
        else _sum(x * x, a, k).double().sqrt().to(x.dtype)
    ),
    "ReduceSumSquare": lambda x, a, k: _sum(x * x, a, k),
    "ReduceLogSum": lambda x, a, k: _log(_sum(x, a, k)),
    "ReduceLogSumExp": lambda x, a, k: (
        x.logsumexp(a, k) if x.is_floating_point() else x.double().logsumexp(a, k).to(x.dtype)
    ),
}


def _register(name: str, reduction: Reduction, moved: int) -> None:
    """Axes became an input: of ReduceSum in opset 13, of the others in 18."""

    def by_attribute(x: Tensor, *, axes: Ints | None = None, keepdims: int = 1) -> Tensor:
        along = tuple(range(x.dim())) if axes is None else tuple(axes)
        return reduction(x, along, bool(keepdims)) if along else x

    def by_input(
        x: Tensor,
        axes: Tensor | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        along = tuple(ints(axes))
        if not along:
            if noop_with_empty_axes:
                return reduction(x.unsqueeze(0), (0,), False)
            along = tuple(range(x.dim()))
        return (
            reduction(x, along, bool(keepdims)) if along else reduction(x.unsqueeze(0), (0,), False)
        )

    op(name, until=moved - 1)(by_attribute)
    op(name, since=moved, host=(1,), bounded=True)(by_input)


for _name, _reduction in REDUCTIONS.items():
    _register(_name, _reduction, 13 if _reduction is _sum else 18)


@op("CumSum", host=(1,), bounded=True)
def cum_sum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _running(x, int(axis.item()), exclusive, reverse, torch.cumsum, 0)


@op("CumProd", host=(1,))
def cum_prod(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _running(x, int(axis.item()), exclusive, reverse, torch.cumprod, 1)


def _running(
    x: Tensor, axis: int, exclusive: int, reverse: int, fold: Callable[..., Tensor], first: int
) -> Tensor:
    values = x.flip(axis) if reverse else x
    if exclusive:
        start = torch.full_like(values.narrow(axis, 0, 1), first)
        values = torch.cat([start, values.narrow(axis, 0, x.shape[axis] - 1)], axis)
    made = fold(values, axis).to(x.dtype)
    return made.flip(axis) if reverse else made
