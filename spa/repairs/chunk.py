"""A site's least-squares problem batch by batch, and which rows of a solution to take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.executor.least_squares import GATHERED, squares_of
from spa.executor.sites import Site
from spa.repairs.targets import Targets

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Columns `[groups, features, m]` of so many samples; rows wanted, `[groups, rows, m]`."""

    columns: Array
    wanted: Array
    samples: int

    @property
    def size(self) -> int:
        """Columns of one sample."""
        return int(self.columns.shape[2] // max(self.samples, 1))

    @property
    def spread(self) -> Matrix:
        """Summed squared distances of the rows wanted from their means, `[groups, rows]`."""
        mean = self.wanted.mean(2, keepdims=True)
        return squares_of(self.wanted - mean)

    def gap(self, weight: Matrix, bias: Matrix) -> Array:
        """What `weight` `[groups, rows, features]` and `bias` `[groups, rows]` fall short of."""
        made = weight.astype(np.float32) @ self.columns + bias.astype(np.float32)[:, :, None]
        found: Array = self.wanted - made
        return found

    def missed(self, weight: Matrix, bias: Matrix) -> Matrix:
        """Squared error per row, `[groups, rows]`, of `weight` and `bias`."""
        return squares_of(self.gap(weight, bias))


def chunks(
    site: Site, targets: Targets, batches: Sequence[int], stored: tuple[int, ...], groups: int
) -> Iterator[Chunk]:
    """Columns and what the site should make of them, batch by batch; small batches together.

    `stored` is the shape of its weight in the pruned model.
    """

    def one(k: int) -> Chunk:
        x, y = targets.input(site, k), targets.target(site, k)
        columns, at, samples = site.columns(x, stored, targets.dense.count, groups)
        wanted = np.asarray(site.form.rows(y, groups, at), np.float32)
        return Chunk(columns, wanted, samples)

    return gathered(map(one, batches))


def gathered(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same columns in chunks of `GATHERED` or more, where samples have as many each."""
    waiting: list[Chunk] = []
    columns = 0
    for chunk in chunks:
        if waiting and (columns >= GATHERED or waiting[-1].size != chunk.size):
            yield _joined(waiting)
            waiting, columns = [], 0
        waiting.append(chunk)
        columns += chunk.columns.shape[2]
    if waiting:
        yield _joined(waiting)


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    return Chunk(
        np.concatenate([chunk.columns for chunk in chunks], 2),
        np.concatenate([chunk.wanted for chunk in chunks], 2),
        sum(chunk.samples for chunk in chunks),
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """A weight `[groups, rows, features]`, a bias `[groups, rows]`, and the squared error left."""

    weight: Matrix
    bias: Matrix
    missed: Matrix


def no_worse(old: Rows, new: Rows) -> Rows:
    """The rows of `new` that miss no more than those of `old`, and the others as they were."""
    helped = new.missed <= old.missed  # false as well for what is not a number
    return Rows(
        np.where(helped[:, :, None], new.weight, old.weight),
        np.where(helped, new.bias, old.bias),
        np.where(helped, new.missed, old.missed),
    )
