"""Rows of inputs as tensors, and the order in which steps take them.

Rows that can be run together lie in one pool; a step takes chunks of pools until it has enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spa.torch.values import tensor_of

Feeds = Mapping[str, NDArray[Any]]
Axes = Mapping[str, int | None]
"""By input, the axis along which its rows lie; None where it has none."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows of one shape.

    Attributes:
        feeds: by input, all rows `[rows, ...]` along its axis.
        axes: by input.
        rows: how many.
        whole: whether they can only be run all at once, as where a model fixes the batch.
        labels: int64 `[rows]`, or None.
    """

    feeds: Mapping[str, Tensor]
    axes: Axes
    rows: int
    whole: bool
    labels: Tensor | None = None

    def taken(self, index: Tensor | None) -> dict[str, Tensor]:
        """The inputs of a run of some rows, all by default."""
        return {name: cut(each, self.axes[name], index) for name, each in self.feeds.items()}


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows that run together: of pool number `pool` those at `index`, or all."""

    pool: int
    index: Tensor | None
    rows: int


def pieces(chunk: Chunk, pool: Pool, most: int) -> list[Chunk]:
    """A chunk of a pool as chunks of at most so many rows, where these can be run alone."""
    if pool.whole or chunk.rows <= most:
        return [chunk]
    index = torch.arange(chunk.rows) if chunk.index is None else chunk.index
    return [Chunk(chunk.pool, part, len(part)) for part in index.split(most)]


def cut(value: Tensor, axis: int | None, index: Tensor | None) -> Tensor:
    """Rows of a tensor along an axis; itself where it has none."""
    return value if index is None or axis is None else value.index_select(axis, index)


def pools_of(
    runs: Iterable[Feeds], axes: Axes, *, whole: bool, labels: NDArray[Any] | None = None
) -> list[Pool]:
    """Runs of a model, joined where their rows have one shape.

    Args:
        runs: inputs by name, several rows each.
        axes: by input, where its rows lie.
        whole: whether runs are only possible as they are.
        labels: of all rows in the order of the runs, int64.
    """
    joined: dict[object, list[dict[str, Tensor]]] = {}
    said: dict[object, list[Tensor]] = {}
    at = 0
    for k, feeds in enumerate(runs):
        tensors = {name: tensor_of(np.asarray(each)) for name, each in feeds.items()}
        shape = tuple((n, t.dtype, _rest(t, axes[n])) for n, t in sorted(tensors.items()))
        key: object = k if whole else shape
        joined.setdefault(key, []).append(tensors)
        if labels is not None:
            count = _count(tensors, axes)
            said.setdefault(key, []).append(torch.from_numpy(labels[at : at + count]))
            at += count
    return [
        _pool(parts, axes, whole, torch.cat(said[key]) if labels is not None else None)
        for key, parts in joined.items()
    ]


def _pool(parts: list[dict[str, Tensor]], axes: Axes, whole: bool, labels: Tensor | None) -> Pool:
    feeds = {}
    for name, first in parts[0].items():
        axis = axes[name]
        alone = axis is None or len(parts) == 1
        feeds[name] = first if alone else torch.cat([part[name] for part in parts], axis or 0)
    return Pool(feeds, axes, _count(feeds, axes), whole, labels)


def _rest(tensor: Tensor, axis: int | None) -> tuple[int, ...]:
    return tuple(n for k, n in enumerate(tensor.shape) if k != axis)


def _count(tensors: Mapping[str, Tensor], axes: Axes) -> int:
    counts = (t.shape[axis] for n, t in tensors.items() if (axis := axes[n]) is not None)
    return next(counts, 1)


def chunks(pools: Sequence[Pool], batch: int) -> Iterator[Chunk]:
    """All rows once, in their order."""
    for k, pool in enumerate(pools):
        if pool.whole or pool.rows <= batch:
            yield Chunk(k, None, pool.rows)
            continue
        for part in torch.arange(pool.rows).split(batch):
            yield Chunk(k, part, len(part))


def whole(pools: Sequence[Pool], batch: int) -> list[Pool]:
    """The same rows in pools that are only run as they are."""
    return [
        Pool(
            pools[chunk.pool].taken(chunk.index),
            pools[chunk.pool].axes,
            chunk.rows,
            True,
            None
            if (own := pools[chunk.pool].labels) is None or chunk.index is None
            else own[chunk.index],
        )
        for chunk in chunks(pools, batch)
    ]


class Order:
    """Random chunks without end; every row comes about as often as any other.

    Args:
        pools: what there is to take.
        batch: rows of a step, at least.
        seed: of the order.
    """

    def __init__(self, pools: Sequence[Pool], batch: int, seed: int) -> None:
        self._pools, self._batch = pools, batch
        self._random = torch.Generator().manual_seed(seed)
        self._left: list[Chunk] = []

    def step(self) -> list[Chunk]:
        """The chunks of the next step."""
        found: list[Chunk] = []
        while sum(chunk.rows for chunk in found) < self._batch:
            if not self._left:
                self._left = self._shuffled()
            found.append(self._left.pop())
        return found

    def skip(self, steps: int) -> None:
        """Go on as if so many steps had been taken."""
        for _ in range(steps):
            self.step()

    def _shuffled(self) -> list[Chunk]:
        made: list[Chunk] = []
        for k, pool in enumerate(self._pools):
            if pool.whole or pool.rows <= self._batch:
                made.append(Chunk(k, None, pool.rows))
                continue
            order = torch.randperm(pool.rows, generator=self._random)
            parts = order.split(self._batch)
            made += [Chunk(k, p, len(p)) for p in parts if len(p) == self._batch]
        turn = torch.randperm(len(made), generator=self._random).tolist()
        return [made[k] for k in turn]


def digest_of_rows(pools: Sequence[Pool]) -> str:
    """What rows are, as a short text."""
    found = hashlib.sha256()
    for pool in pools:
        for name, tensor in sorted(pool.feeds.items()):
            found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            found.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
        if pool.labels is not None:
            found.update(pool.labels.numpy().tobytes())
    return found.hexdigest()
