"""Contractions as products of matrices: `Y[g] = W[g] X[g]` for every group g.

A form knows how to see the stored weight as `[groups, rows, features]`, the input of the node as
columns `[groups, features, m]` and its output as `[groups, rows, m]`, at some places of the output,
so that one least-squares solver serves convolutions, transposed convolutions, Gemm, MatMul on
either side, and Einsum.  `shape` is always that of the stored weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spa.executor.columns import rows_of, space, space_transposed, unfold, unfold_transposed
from spa.graph.model import Attributes, Node
from spa.labels import Shape
from spa.rules import trait_of

Array = NDArray[Any]
Places = NDArray[np.int64] | None
Letters = tuple[str, ...]


@dataclass(frozen=True)
class Convolution:
    """Conv and ConvTranspose, of any rank, stride, dilation and group."""

    attrs: Attributes
    transposed: bool

    axis: ClassVar[int | None] = 1
    """The axis of the output that the rows lie along."""

    def matrix(self, weight: Array, groups: int) -> Array:
        """The weight as `[groups, rows, channels · kernel]`; of a transposed one, flipped."""
        if not self.transposed:
            return weight.reshape(groups, weight.shape[0] // groups, -1)
        i, o, *kernel = weight.shape
        flipped = np.flip(weight, tuple(range(2, weight.ndim)))
        split = flipped.reshape(groups, i // groups, o, *kernel)
        return np.asarray(split.swapaxes(1, 2).reshape(groups, o, -1))

    def stored(self, matrix: Array, shape: Sequence[int]) -> Array:
        """`matrix` undone."""
        if not self.transposed:
            return matrix.reshape(shape)
        i, o, *kernel = shape
        groups = len(matrix)
        split = matrix.reshape(groups, o, i // groups, *kernel).swapaxes(1, 2)
        return np.asarray(np.flip(split.reshape(shape), tuple(range(2, len(shape)))))

    def columns(self, x: Array, shape: Sequence[int], groups: int, at: Places) -> Array:
        """im2col: `[groups, channels · kernel, samples · places]`."""
        fold = unfold_transposed if self.transposed else unfold
        flat = fold(x, tuple(shape), self.attrs, self._space(x.shape, shape), at)
        return flat.reshape(groups, -1, flat.shape[-1])

    def rows(self, y: Array, groups: int, at: Places) -> Array:
        """`[groups, rows, samples · places]`."""
        flat = rows_of(y, at)
        return flat.reshape(groups, -1, flat.shape[-1])

    def features(self, shape: Sequence[int], groups: int) -> int:
        """Channels of a group, times the size of the kernel."""
        return prod(shape[2:]) * (shape[0] // groups if self.transposed else shape[1])

    def positions(self, x: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
        """Places of the output for an input of shape `x`, pixels here, and samples at each."""
        return prod(self._space(x, shape)), x[0]

    def _space(self, x: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
        """The spatial sizes of the output."""
        return (space_transposed if self.transposed else space)(x[2:], shape[2:], self.attrs)


@dataclass(frozen=True)
class Product:
    """MatMul, Gemm and Einsum of an activation and a weight: axes are letters."""

    x: Letters
    w: Letters
    y: Letters
    shared: Letters  # by both and by the output: groups
    summed: Letters  # over: features
    brought: Letters  # by the weight: rows
    over: Letters  # left of the activation: positions

    @property
    def axis(self) -> int | None:
        """The axis of the output that the rows lie along; None if there are several."""
        letters = (*self.shared, *self.brought)
        return self.y.index(letters[0]) if len(letters) == 1 else None

    def matrix(self, weight: Array, groups: int) -> Array:
        """The weight as `[groups, rows, features]`."""
        return _gather(weight, self.w, self.shared, self.brought, self.summed)

    def stored(self, matrix: Array, shape: Sequence[int]) -> Array:
        """`matrix` undone."""
        order = (*self.shared, *self.brought, *self.summed)
        sizes = dict(zip(self.w, shape, strict=True))
        split = matrix.reshape([sizes[c] for c in order])
        return split.transpose([order.index(c) for c in self.w])

    def columns(self, x: Array, shape: Sequence[int], groups: int, at: Places) -> Array:
        """`[groups, features, positions]`."""
        return self._some(x, self.x, self.summed, at)

    def rows(self, y: Array, groups: int, at: Places) -> Array:
        """`[groups, rows, positions]`."""
        return self._some(y, self.y, self.brought, at)

    def _some(self, array: Array, letters: Letters, inner: Letters, at: Places) -> Array:
        """`[groups, inner, positions]`, at some places of every sample."""
        found = _gather(array, letters, self.shared, inner, self.over)
        if at is None:
            return found
        samples = array.shape[letters.index(self.over[0])]
        taken = found.reshape(*found.shape[:2], samples, -1)[..., at]
        return taken.reshape(*found.shape[:2], -1)

    def features(self, shape: Sequence[int], groups: int) -> int:
        """The product of the sizes that are summed over."""
        return prod(n for c, n in zip(self.w, shape, strict=True) if c in self.summed)

    def positions(self, x: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
        """All but the first letter of the positions, which is that of the samples."""
        sizes = [n for c in self.over for d, n in zip(self.x, x, strict=True) if c == d]
        return prod(sizes[1:]), prod(sizes[:1])


Form = Convolution | Product


def _gather(array: Array, letters: Letters, *parts: Letters) -> Array:
    """The array with its axes collected into one axis per part."""
    sizes = dict(zip(letters, array.shape, strict=True))
    moved = array.transpose([letters.index(c) for part in parts for c in part])
    return moved.reshape([prod(sizes[c] for c in part) for part in parts])


def form_of(node: Node, weight: int, shapes: Mapping[str, Shape]) -> Form | None:
    """How a node contracts its input number `weight`; None where this is no plain product."""
    how = trait_of(node).contracts
    if how is None:
        return None
    if how.window is not None:
        transposed = how.window == "writes"
        odd = node.attrs.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attrs
        return None if weight != 1 or (transposed and odd) else Convolution(node.attrs, transposed)
    names = (node.inputs[0], node.inputs[1], node.outputs[0])
    if how.letters is None or any(n not in shapes for n in names):
        return None
    sizes = [shapes[n] for n in names]
    letters = how.letters(node, [len(s) for s in sizes])
    return None if letters is None else _product(letters, sizes, weight)


def _product(
    letters: tuple[Letters, ...], shapes: Sequence[tuple[int, ...]], weight: int
) -> Product | None:
    """The product in which every letter plays one part, or None."""
    w, x, y = letters[weight], letters[1 - weight], letters[2]
    full = dict(zip(y, shapes[2], strict=True))
    if any(len(set(t)) < len(t) for t in letters):
        return None
    for term, shape in ((w, shapes[weight]), (x, shapes[1 - weight])):
        if any(n != full.get(c, n) for c, n in zip(term, shape, strict=True)):
            return None  # broadcast
    alone = [c for t, u in ((x, w), (w, x)) for c in t if c not in u and c not in y]
    summed = tuple(c for c in w if c in x and c not in y)
    brought = tuple(c for c in w if c not in x)
    if alone or not summed or not brought:
        return None
    shared, over = tuple(c for c in w if c in x and c in y), tuple(c for c in y if c not in w)
    return Product(x, w, y, shared, summed, brought, over)
