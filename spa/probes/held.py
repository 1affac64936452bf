"""Inputs that a Python program holds: an array, arrays by input, or several of either, one by one.

Whoever has arrays at hand can shape them, so nothing is adapted here: what does not fit is refused
before any work, in words that say what to write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import UsageError
from spa.graph.model import Graph
from spa.probes.files import MOST, Data
from spa.probes.sizes import Sizes
from spa.recipe import Held

Array = NDArray[Any]
Part = Mapping[str, Array]
Calib = str | os.PathLike[str] | Array | Mapping[str, Array] | Iterable[Array | Mapping[str, Array]]
ONLY = ""  # the name of an array that was given none
PYTHON = "a path, an array, a dict of arrays by input, or an iterable of either"


def held(calib: object) -> str | Held | None:
    """What `calib` is (see `Calib`), a path as text; of iterables `MOST` items are read.

    Raises:
        UsageError: it is none of what it may be.
    """
    if calib is None or isinstance(calib, Held):
        return calib
    if isinstance(calib, (str, os.PathLike)):
        return str(os.fspath(calib))
    own = _part(calib, "calib")
    if own is not None:
        return Held((own,))
    if isinstance(calib, bytes) or not isinstance(calib, Iterable):
        raise UsageError(f"calib is {PYTHON}, not {_kind(calib)}")
    parts: list[Part] = []
    for k, item in enumerate(islice(calib, MOST)):
        part = _part(item, f"item {k} of calib")
        if part is None:
            advice = "; give the inputs alone, as in [x for x, _ in calib]"
            pair = advice if isinstance(item, (tuple, list)) else ""
            raise UsageError(
                f"item {k} of calib is {_kind(item)}, not an array or a dict of arrays{pair}"
            )
        if parts and part.keys() != parts[0].keys():
            raise UsageError(f"item {k} of calib has other inputs than item 0; give all the same")
        parts.append(part)
    if not parts:
        raise UsageError("calib is empty; give at least one array, or leave it out")
    return Held(tuple(parts), several=True)


def labels_held(labels: object) -> str | Held | None:
    """What `labels` is: a path as text, or an array."""
    if labels is None or isinstance(labels, Held):
        return labels
    if isinstance(labels, (str, os.PathLike)):
        return str(os.fspath(labels))
    return Held(({ONLY: np.asarray(labels)},), name="labels")


def _part(value: object, words: str) -> Part | None:
    """Arrays by input of one thing that was given; None if it is neither."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if not isinstance(name, str) or not hasattr(each, "__array__"):
                raise UsageError(f"{words}[{name!r}] is {_kind(each)}; give arrays by input name")
        if not value:
            raise UsageError(f"{words} is an empty dict; give arrays by input name")
        return {name: np.asarray(each) for name, each in value.items()}
    return {ONLY: np.asarray(value)} if hasattr(value, "__array__") else None


def _kind(value: object) -> str:
    name = "array" if isinstance(value, np.ndarray) else type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def fitting(calib: Held, graph: Graph, sizes: Sizes, pictures: Iterable[str]) -> Data:
    """The arrays by input, every one of which fits; bytes are taken for `pictures` only.

    Raises:
        UsageError: names, numbers of axes, types or shapes are not those of the inputs.
    """
    shown = set(pictures)
    names = {key: _input(key, graph) for key in calib.parts[0]}
    found: dict[str, Array] = {}
    for key, name in names.items():
        wanted = _Wanted(graph, sizes, name, name in shown)
        arrays = []
        for k, part in enumerate(calib.parts):
            words = f"item {k} of calib" if calib.several else "calib"
            words = f"{words}[{key!r}]" if key else words
            arrays.append(wanted.rows(part[key]) if calib.several else part[key])
            wanted.check(arrays[-1], words)
        found[name] = wanted.joined(arrays) if calib.several else arrays[0]
    _check_together(found, graph, sizes)
    return Data(found)


def _input(key: str, graph: Graph) -> str:
    """The input that a key means."""
    if key in graph.inputs:
        return key
    listed = ", ".join(map(repr, graph.inputs))
    if key:
        raise UsageError(f"calib has {key!r}, which is no input of the model; it has {listed}")
    if len(graph.inputs) != 1:
        raise UsageError(
            f"calib is one array, and the model's inputs are {listed}; give a dict of arrays"
        )
    return str(graph.inputs[0])


class _Wanted:
    """What the arrays for one input must be like."""

    def __init__(self, graph: Graph, sizes: Sizes, name: str, picture: bool) -> None:
        self.name, self.picture, self.dtype = name, picture, graph.dtypes[name]
        self.shape, self.axis = graph.shapes[name], sizes.batch[name]
        self.open = sizes.open[name]

    @property
    def words(self) -> str:
        """The shape, as a person would write it."""
        sizes = [
            "rows" if k == self.axis else "any" if self._free(k) else str(size)
            for k, size in enumerate(self.shape)
        ]
        return f"[{', '.join(sizes)}]"

    def _free(self, axis: int) -> bool:
        """Whether an axis may have any size; pictures have the size that the analysis used."""
        return axis == self.axis or (self.open[axis] is not None and not self.picture)

    def rows(self, array: Array) -> Array:
        """An item, which may be one row, with the axis of the batch."""
        if self.axis is not None and array.ndim == len(self.shape) - 1:
            return np.expand_dims(array, self.axis)
        if self.axis is None and array.ndim == len(self.shape):
            return array[None]
        return array

    def joined(self, arrays: Sequence[Array]) -> Array:
        """Rows one after the other.

        Raises:
            UsageError: their sizes differ where they are not the batch.
        """
        axis = self.axis or 0
        rows = [array.shape[:axis] + array.shape[axis + 1 :] for array in arrays]
        odd = next((k for k, row in enumerate(rows) if row != rows[0]), None)
        if odd is not None:
            raise UsageError(
                f"item {odd} of calib has rows of shape {list(rows[odd])} for input "
                f"{self.name!r}, but item 0 has {list(rows[0])}; give all the same shape"
            )
        return np.concatenate(arrays, axis)

    def check(self, array: Array, words: str) -> None:
        """Raise UsageError unless an array is what the input takes."""
        of = f"input {self.name!r}"
        text = self.dtype.kind in "OSU" and array.dtype.kind in "OSU"
        bytes_ = self.picture and array.dtype == np.uint8
        if array.dtype != self.dtype and not (text or bytes_):
            raise UsageError(
                f"{words} is {array.dtype} but {of} takes {self.dtype}; "
                f'convert it yourself, as with .astype("{self.dtype}")'
            )
        several = self.axis is None and array.ndim == len(self.shape) + 1
        have = array.shape[1:] if several else array.shape
        if len(have) != len(self.shape):
            missing = self.axis == 0 and len(have) == len(self.shape) - 1
            hint = "; one row needs an axis more, as in array[None]" if missing else ""
            raise UsageError(
                f"{words} has {array.ndim} axes, {list(array.shape)}, but {of} takes "
                f"{len(self.shape)}, {self.words}{hint}"
            )
        wrong = [k for k, n in enumerate(have) if n != self.shape[k] and not self._free(k)]
        if wrong:
            advice = self._advice(have, wrong)
            raise UsageError(
                f"{words} has shape {list(array.shape)} but {of} takes {self.words}; {advice}"
            )
        if not array.size:
            raise UsageError(f"{words} has shape {list(array.shape)}, which holds nothing")

    def _advice(self, have: Sequence[int], wrong: Sequence[int]) -> str:
        """What to write instead."""
        if all(self.open[k] is not None for k in wrong):
            sizes = [s if self.open[k] is None else have[k] for k, s in enumerate(self.shape)]
            return f"give the sizes as input_shape={{{self.name!r}: {tuple(sizes)}}}"
        for turn in ((0, 3, 1, 2), (0, 2, 3, 1)) if len(have) == len(self.shape) == 4 else ():
            if all(have[t] == self.shape[k] or self._free(k) for k, t in enumerate(turn)):
                return f"turn it with .transpose{turn}"
        return "give arrays of that shape"


def _check_together(found: Mapping[str, Array], graph: Graph, sizes: Sizes) -> None:
    """Axes that are one must have one size: the batch, and what goes by one symbol."""
    seen: dict[str | None, tuple[str, int]] = {}
    for name, array in found.items():
        symbols = graph.dynamic.get(name) or (None,) * len(graph.shapes[name])
        own = array.shape[array.ndim - len(symbols) :]
        for k, (symbol, size) in enumerate(zip(symbols, own, strict=True)):
            batch = k == sizes.batch[name]
            if not batch and symbol is None:
                continue
            other, known = seen.setdefault(None if batch else symbol, (name, size))
            if known != size:
                what = "rows" if batch else f"along {symbol!r}"
                raise UsageError(
                    f"calib[{name!r}] has {size} {what}, but calib[{other!r}] has {known}; "
                    "give as many"
                )
