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


def both(name: str, reduction: Reduction, moved: int = 18) -> None:
    """Register a reduction whose axes are an attribute, and an input from an opset on."""

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


def _exact(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of floats on any numbers, in their type."""
    return lambda x: function(x) if x.is_floating_point() else function(x.double()).to(x.dtype)


_root, _log = _exact(torch.sqrt), _exact(torch.log)


def _log_sum_exp(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _exact(lambda each: each.logsumexp(axes, keep))(x)


both("ReduceSum", _sum, 13)
both("ReduceMean", _mean)
both("ReduceMax", _largest)
both("ReduceMin", _least)
both("ReduceProd", _product)
both("ReduceL1", lambda x, axes, keep: _sum(x.abs(), axes, keep))
both("ReduceL2", lambda x, axes, keep: _root(_sum(x * x, axes, keep)))
both("ReduceSumSquare", lambda x, axes, keep: _sum(x * x, axes, keep))
both("ReduceLogSum", lambda x, axes, keep: _log(_sum(x, axes, keep)))
both("ReduceLogSumExp", _log_sum_exp)


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
