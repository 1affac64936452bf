"""`Probe`: one stream of rows per input, cut into runs of the model.

A row is what one index of the batch axis holds.  Each row has its own random generator, so what it
is depends on the seed and its number alone, not on how many rows are asked for or run at once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spa.probes.pictures import Picture
from spa.registry import INPUTS, Registry

Array = NDArray[Any]
Rows = Sequence[int]
Draw = Callable[[Rows, tuple[int, ...]], Array]
"""From numbers of rows and the shape of one row to an array `[rows, *shape]`."""


class Inputs(Protocol):
    """A kind of synthetic inputs: the same rows for the same seed and name of the input."""

    def __call__(self, rows: Rows, shape: tuple[int, ...], *, seed: int, name: str) -> Array:
        """Float32 `[rows, *shape]`.

        Of pictures the shape is `(channels, height, width)` and pixels are in 0..1, of signals it
        is `(channels, length)`, of numbers that of a row of the input.
        """


inputs: Registry[Inputs] = INPUTS

MEDIAN, SPREAD = 15.0, 0.55
"""Of the log-normal lengths of token sequences: those of English sentences."""
TOGETHER, NUMBERS = 64, 1 << 20
"""Rows that are drawn together, and numbers, at most, where runs hold few."""
FRESH = 1 << 20  # the first of the made-up rows that nothing is fitted on
SHARE, SPARED = 5, 64
"""One row of so many is not fitted on, where rows come from files, and at most so many rows."""


def generator(seed: int, name: str, row: int) -> np.random.Generator:
    """The random generator of one row of one input."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), row])


@dataclass(frozen=True)
class Stream:
    """What feeds one input.

    `shape` is that of a run in the analysis and `axis` its batch axis, None where it has none.
    `lengths` are the axes that follow the length of a sequence, `picture` how pixels lie, where it
    is one.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    axis: int | None
    draw: Draw
    lengths: tuple[int, ...] = ()
    picture: Picture | None = None

    def array(self, rows: Rows, run: int, length: int | None) -> Array:
        """The input of one run."""
        shape = [
            length if length is not None and axis in self.lengths else size
            for axis, size in enumerate(self.shape)
        ]
        if self.axis is None:
            return self._typed(np.asarray(self.draw([run], tuple(shape))[0]))
        del shape[self.axis]
        return self._typed(np.moveaxis(self.draw(rows, tuple(shape)), 0, self.axis))

    def _typed(self, array: Array) -> Array:
        """In the type of the input; whole numbers are the nearest ones."""
        whole = self.dtype.kind in "iu" and array.dtype.kind == "f"
        return np.asarray((np.rint(array) if whole else array).astype(self.dtype), order="C")


@dataclass(frozen=True)
class Lengths:
    """How long the sequence in each row is; `longest` is what the model accepts."""

    seed: int
    longest: int
    shortest: int = 4

    def of(self, row: int) -> int:
        """The length of one row."""
        drawn = MEDIAN * np.exp(SPREAD * generator(self.seed, "length", row).standard_normal())
        return int(np.clip(np.rint(drawn), self.shortest, self.longest))

    @property
    def typical(self) -> int:
        """The length where all rows must have the same."""
        return max(self.shortest, min(self.longest, int(MEDIAN)))


@dataclass(frozen=True)
class Probe:
    """Inputs for a model: of which `kind`, `why`, and what there is to know about them (`notes`).

    `rows` is the batch size that the model fixes, None where it is open; `available` is how many
    rows there are, None for as many as one likes.
    """

    kind: str
    why: str
    notes: tuple[str, ...]
    streams: tuple[Stream, ...]
    rows: int | None = None
    lengths: Lengths | None = None
    available: int | None = None
    batch: int = 32

    def redrawn(self, draws: Mapping[str, Draw]) -> Probe:
        """The same with other rows for some inputs."""
        streams = (replace(s, draw=draws.get(s.name, s.draw)) for s in self.streams)
        return replace(self, streams=tuple(streams))

    def batches(self, count: int, batch: int | None = None) -> Iterator[dict[str, Array]]:
        """Runs that hold `count` rows in all, at most `batch` at once.

        The rows, in this order, are the same for every `batch`.  Sequences of one length run
        together, the short ones first.  Where the model fixes the batch, that many rows make a
        run, and the last run is full.
        """
        count = count if self.available is None else min(count, self.available)
        yield from self.runs(range(count), batch)

    def runs(self, rows: Rows, batch: int | None = None) -> Iterator[dict[str, Array]]:
        """As `batches`, for rows of which the numbers are given."""
        if self.rows is not None:
            for length, group in groupby(rows[:: self.rows], key=self._length):
                firsts, at_once = list(group), self._at_once
                for start in range(0, len(firsts), at_once):
                    yield from self._full(firsts[start : start + at_once], length)
            return
        size = max(1, batch or self.batch)
        for length, pairs in groupby(self._sorted(rows), key=lambda pair: pair[0]):
            alike = [row for _, row in pairs]
            for start in range(0, len(alike), size):
                yield self._run(alike[start : start + size], 0, length)

    def ordered(self, rows: Rows) -> list[int]:
        """Numbers of rows in the order in which `runs` gives them, those that fill up runs, too."""
        if self.rows is not None:
            return [first + k for first in rows[:: self.rows] for k in range(self.rows)]
        return [row for _, row in self._sorted(rows)]

    def _sorted(self, rows: Rows) -> list[tuple[int | None, int]]:
        """Rows with their lengths, the short ones first; each once."""
        pairs = [(self._length(row), row) for row in dict.fromkeys(rows)]
        return sorted(pairs, key=lambda pair: (pair[0] or 0, pair[1]))

    def held(self, feeds: Mapping[str, Array]) -> int:
        """How many rows a run holds."""
        sizes = (feeds[s.name].shape[s.axis] for s in self.streams if s.axis is not None)
        return next(sizes, self.rows or 1)

    @property
    def _at_once(self) -> int:
        """How many runs of the batch that the model fixes are drawn together.

        Drawing one row costs nearly what drawing many does, where a row is small.
        """
        numbers = sum(math.prod(stream.shape) for stream in self.streams)
        return max(1, min(TOGETHER // (self.rows or 1), NUMBERS // max(numbers, 1)))

    def _full(self, firsts: Rows, length: int | None) -> Iterator[dict[str, Array]]:
        """The runs of the batch that the model fixes, by the first row of each."""
        size = self.rows or 1
        drawn: dict[str, list[Array]] = {}
        for s in self.streams:
            runs = [range(first, first + size) for first in firsts]
            if s.axis is None:
                drawn[s.name] = [s.array(run, run[0] // size, length) for run in runs]
                continue
            whole = s.array([row for run in runs for row in run], 0, length)
            parts = np.split(whole, len(runs), s.axis)
            drawn[s.name] = [np.ascontiguousarray(part) for part in parts]
        for k in range(len(firsts)):
            yield {name: arrays[k] for name, arrays in drawn.items()}

    def feeds(self, count: int = 1) -> dict[str, Array]:
        """One run of the first `count` rows, or of as many as the model fixes; one length."""
        if self.rows is None:
            count = count if self.available is None else min(count, self.available)
        rows = range(max(1, count) if self.rows is None else self.rows)
        return self._run(rows, 0, None if self.lengths is None else self.lengths.typical)

    def fitting(self, count: int) -> list[int]:
        """Numbers of at most `count` rows to fit on: never one of those that `fresh` gives."""
        if self.available is None:
            return list(range(count))
        spared = set(self._spared())
        return [row for row in range(self.available) if row not in spared][:count]

    def fresh(self, count: int) -> tuple[list[int], bool]:
        """Numbers of at most `count` rows to judge on, and whether `fitting` never gives them.

        Of rows from files, every fifth is spared for this, up to `SPARED`; of fewer than five, or
        where all rows are alike, there are none to spare.
        """
        if self.available is None:
            rows = list(range(FRESH, FRESH + self._whole(count)))
            return rows, not self._alike(0, FRESH)
        spared = self._spared()
        if not spared:
            return list(range(min(self.available, self._whole(count)))), False
        return spared[: self._whole(count)], True

    def _spared(self) -> list[int]:
        """Rows from files that are kept for judging, spread evenly; runs stay together."""
        size = self.rows or 1
        runs = (self.available or 0) // size
        spared = min(runs // SHARE, -(-SPARED // size))
        starts = (np.arange(spared) * runs // max(1, spared) + SHARE // 2) * size
        return [int(start) + k for start in starts for k in range(size)]

    def _whole(self, count: int) -> int:
        """So many rows that all runs are full."""
        return count if self.rows is None else -(-count // self.rows) * self.rows

    def _alike(self, one: int, other: int) -> bool:
        """Whether two rows are the same, as where the model takes nothing but one input."""
        runs = [self._run(range(k, k + (self.rows or 1)), k, None) for k in (one, other)]
        return all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])

    def _length(self, row: int) -> int | None:
        return None if self.lengths is None else self.lengths.of(row)

    def _run(self, rows: Rows, run: int, length: int | None) -> dict[str, Array]:
        return {stream.name: stream.array(rows, run, length) for stream in self.streams}
