"""Shapes: measured, changed, filled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spa.torch.registry import ALL, op
from spa.torch.values import dtype_of, ints

Ints = Sequence[int]


@op("Identity", moves=True)
def identity(x: Tensor) -> Tensor:
    return x


@op("Shape", steer=ALL, moves=True)
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """On the CPU, as all that steers."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@op("Size", steer=ALL, moves=True)
def size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


@op("Reshape", until=4, moves=True)
def reshape_1(x: Tensor, *, shape: Ints) -> Tensor:
    return _reshaped(x, shape, 0)


@op("Reshape", since=5, host=(1,), bounded=True, moves=True)
def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    return _reshaped(x, shape.tolist(), allowzero)


def _reshaped(x: Tensor, wanted: Ints, allowzero: int) -> Tensor:
    if 0 in wanted and not allowzero:
        wanted = [x.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    if -1 in wanted and 0 in x.shape:
        known = math.prod(n for n in wanted if n != -1)
        wanted = [x.numel() // max(1, known) if n == -1 else n for n in wanted]
    return x.reshape(wanted)


@op("Flatten", moves=True)
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    place = axis if axis >= 0 else axis + x.dim()
    return x.reshape(math.prod(x.shape[:place]), math.prod(x.shape[place:]))


@op("Squeeze", until=12, moves=True)
def squeeze_1(x: Tensor, *, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("Squeeze", since=13, host=(1,), bounded=True, moves=True)
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


@op("Unsqueeze", until=12, moves=True)
def unsqueeze_1(x: Tensor, *, axes: Ints) -> Tensor:
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


@op("Unsqueeze", since=13, host=(1,), bounded=True, moves=True)
def unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    return unsqueeze_1(x, axes=ints(axes))


@op("Transpose", moves=True)
def transpose(x: Tensor, *, perm: Ints | None = None) -> Tensor:
    return x.permute(tuple(reversed(range(x.dim())) if perm is None else perm))


@op("Expand", host=(1,), moves=True)
def expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


@op("Tile", since=6, host=(1,), moves=True)
def tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


@op("ConstantOfShape", host=(0,), moves=True)
def constant_of_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    if value is None:
        return torch.zeros(shape.tolist())
    return torch.full(shape.tolist(), value.reshape(-1)[0].item(), dtype=value.dtype)


@op("Range", host=(0, 1, 2), moves=True)
def count(start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = 1) -> Tensor:
    low, step = start.item(), delta.item()
    number = max(0, math.ceil((limit.item() - low) / step))
    made = torch.arange(number, dtype=torch.float64 if start.is_floating_point() else torch.int64)
    return (low + made * step).to(start.dtype)


@op("EyeLike", steer=ALL, moves=True)
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    rows, columns = x.shape
    place = torch.arange(columns) - torch.arange(rows)[:, None]
    return (place == k).to(x.dtype if dtype is None else dtype_of(dtype, "an identity matrix"))


@op("Split", until=12, moves=True)
def split_2(
    x: Tensor, *, axis: int = 0, split: Ints | None = None, outputs: int
) -> tuple[Tensor, ...] | Tensor:
    made = x.split(split or -(-x.shape[axis] // outputs), axis)
    return made[0] if outputs == 1 else tuple(made)


@op("Split", since=13, host=(1,), bounded=True, moves=True)
def split(
    x: Tensor,
    sizes: Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int,
) -> tuple[Tensor, ...] | Tensor:
    made = x.split(-(-x.shape[axis] // outputs) if sizes is None else ints(sizes), axis)
    return made[0] if outputs == 1 else tuple(made)


@op("Concat", moves=True)
def concat(*tensors: Tensor, axis: int = 1) -> Tensor:
    return torch.cat(tensors, axis)


@op("Slice", until=9, moves=True)
def slice_1(x: Tensor, *, axes: Ints | None = None, ends: Ints, starts: Ints) -> Tensor:
    return _sliced(x, starts, ends, axes or range(len(starts)), [1] * len(starts))


@op("Slice", since=10, host=(1, 2, 3, 4), bounded=True, moves=True)
def slice_(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    low = starts.tolist()
    along = range(len(low)) if axes is None else axes.tolist()
    by = [1] * len(low) if steps is None else steps.tolist()
    return _sliced(x, low, ends.tolist(), along, by)


def _sliced(x: Tensor, starts: Ints, ends: Ints, axes: Ints, steps: Ints) -> Tensor:
    """As of Python; backwards by an index, as torch has no negative steps."""
    for axis, low, high, step in zip(axes, starts, ends, steps, strict=True):
        number = x.shape[axis]
        begin, end, _ = slice(low, high, step).indices(number)
        if step == 1:
            if begin or end < number:
                x = x.narrow(axis, begin, max(0, end - begin))
        else:
            inside = range(begin, end, step)
            places = torch.tensor(inside, dtype=torch.int64, device=x.device)
            x = x.index_select(axis, places)
    return x


@op("Trilu", host=(1,), bounded=True, moves=True)
def trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    place = 0 if k is None else int(k.item())
    return torch.triu(x, place) if upper else torch.tril(x, place)


@op("DepthToSpace", moves=True)
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    if mode == "DCR":
        made = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        made = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return made.reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth", moves=True)
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    made = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return made.permute(order).reshape(n, c * b**2, h // b, w // b)
