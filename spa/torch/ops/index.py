"""Looked up by index, and written there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import ALL, op


@op("Gather", steer=(1,), moves=True)
def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """Indices below 0 count from the end."""
    if index.dim() == 0 and index.device.type == "cpu":
        return x.select(axis, int(index.item()))
    rank = x.dim()
    place = axis % rank
    at = index.long()
    at = torch.where(at < 0, at + x.shape[place], at)
    if place == 0 and rank == 2:
        return functional.embedding(at, x)
    found = x.index_select(place, at.reshape(-1))
    return found.reshape(*x.shape[:place], *index.shape, *x.shape[place + 1 :])


@op("GatherElements", steer=(1,), moves=True)
def gather_elements(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    return x.gather(axis, _positive(index, x.shape[axis]))


def _positive(index: Tensor, number: int) -> Tensor:
    at = index.long()
    return torch.where(at < 0, at + number, at)


@op("GatherND", steer=(1,), moves=True)
def gather_nd(x: Tensor, index: Tensor, *, batch_dims: int = 0) -> Tensor:
    at = index.long()
    batch = x.shape[:batch_dims]
    own = [
        torch.arange(n, device=x.device).reshape(*[1] * k, n, *[1] * (index.dim() - 2 - k))
        for k, n in enumerate(batch)
    ]
    return x[(*own, *at.unbind(-1))]


def _reduced(x: Tensor, how: str, axis: int, at: Tensor, updates: Tensor) -> Tensor:
    if how == "none":
        return x.scatter(axis, at, updates)
    name = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[how]
    return x.scatter_reduce(axis, at, updates, name)


@op("ScatterElements", "Scatter", steer=(1,), moves=True)
def scatter_elements(
    x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    return _reduced(x, reduction, axis, _positive(index, x.shape[axis]), updates)


@op("ScatterND", steer=(1,), moves=True)
def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """On the tensor with its first axes made one, row by row."""
    depth = index.shape[-1]
    front, rest = x.shape[:depth], x.shape[depth:]
    flat = torch.zeros(index.shape[:-1], dtype=torch.int64, device=x.device)
    for k, n in enumerate(front):
        flat = flat * n + _positive(index[..., k], n)
    rows = x.reshape(-1, *rest) if depth else x.reshape(1, *rest)
    at = flat.reshape(-1, *[1] * len(rest)).expand(-1, *rest)
    made = _reduced(rows, reduction, 0, at, updates.reshape(-1, *rest))
    return made.reshape(x.shape)


@op("OneHot", steer=(0,), host=(1,))
def one_hot(index: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    number = int(depth.reshape(-1)[0].item())
    at = index.long()
    at = torch.where(at < 0, at + number, at).unsqueeze(axis)
    where = torch.arange(number, device=at.device)
    shape = [1] * at.dim()
    shape[axis] = number
    return torch.where(at == where.reshape(shape), values[1], values[0])


@op("NonZero", steer=ALL, moves=True)
def non_zero(x: Tensor) -> Tensor:
    return x.nonzero().t()


@op("Compress", steer=(1,), moves=True)
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    at = condition.nonzero().reshape(-1)
    return x.reshape(-1)[at] if axis is None else x.index_select(axis, at)


@op("TopK", until=9)
def top_k_1(x: Tensor, *, axis: int = -1, k: int) -> tuple[Tensor, Tensor]:
    return top_k(x, torch.tensor([k]), axis=axis)


@op("TopK", since=10, host=(1,))
def top_k(
    x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    """Of equal values the one with the lower index comes first."""
    number = int(k.reshape(-1)[0].item())
    values, index = x.sort(dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, number), index.narrow(axis, 0, number)


@op("ArgMax", steer=ALL)
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _arg(x, axis, keepdims, select_last_index, True)


@op("ArgMin", steer=ALL)
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _arg(x, axis, keepdims, select_last_index, False)


def _arg(x: Tensor, axis: int, keepdims: int, last: int, largest: bool) -> Tensor:
    best = x.amax(axis, keepdim=True) if largest else x.amin(axis, keepdim=True)
    hits = (x == best).to(torch.int8)
    if last:
        found = x.shape[axis] - 1 - hits.flip(axis).argmax(axis, keepdim=True)
    else:
        found = hits.argmax(axis, keepdim=True)
    return found if keepdims else found.squeeze(axis)


@op("ReverseSequence", steer=(1,), moves=True)
def reverse_sequence(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    steps = torch.arange(x.shape[time_axis], device=x.device)[:, None]
    ends = lengths.long()[None]
    at = torch.where(steps < ends, ends - 1 - steps, steps)
    if batch_axis < time_axis:
        at = at.t()
    shape = [1] * x.dim()
    shape[time_axis], shape[batch_axis] = x.shape[time_axis], x.shape[batch_axis]
    return x.gather(time_axis, at.reshape(shape).expand(x.shape))


@op("Unique", steer=ALL, moves=True)
def unique(
    x: Tensor, *, axis: int | None = None, sorted: int = 1, outputs: int
) -> Tensor | tuple[Tensor, ...]:
    """As of numpy, with the place of the first of each."""
    along = x.reshape(-1) if axis is None else x
    dim = 0 if axis is None else axis
    values, inverse, counts = along.unique(dim=dim, return_inverse=True, return_counts=True)
    number = values.shape[dim]
    steps = torch.arange(inverse.numel(), device=x.device)
    first = steps.new_full((number,), inverse.numel()).scatter_reduce(0, inverse, steps, "amin")
    if not sorted:
        order = first.argsort()
        values, first, counts = values.index_select(dim, order), first[order], counts[order]
        inverse = order.argsort()[inverse]
    return values if outputs == 1 else (values, first, inverse, counts)[:outputs]
