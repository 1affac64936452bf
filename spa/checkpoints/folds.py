"""BatchNormalization that an exporter has worked into the weights before it.

With scale g, shift b, mean m and variance v, a folded file holds W·s and b + (c - m)·s for a weight
W and its bias c, where s = g / sqrt(v + epsilon).  The checkpoint has W, c, g, b, m and v, so s
follows from the two weights, and the four vectors are those for which both equations hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, permutations, product

import numpy as np
from numpy.typing import NDArray

from spa.checkpoints.exported import Array, Arrays
from spa.checkpoints.places import bare, orders, permuted

Vector = NDArray[np.float64]
CLOSE = 1e-4
"""Of the largest number: what single precision and a folding in it may differ by."""


@dataclass(frozen=True)
class Fold:
    """A weight that stands scaled in the file.

    Attributes:
        order: of the stored tensor's axes.
        axis: of the checkpoint's tensor, along which it is scaled.
        scale: by how much, float64 `[channels]`.
    """

    order: tuple[int, ...]
    axis: int
    scale: Vector


@dataclass(frozen=True)
class Norm:
    """The vectors of the BatchNormalization that was folded, by name in the checkpoint.

    `shift` and `mean` are empty where only the scale was worked in, and `offset`, the bias of the
    weight itself, where it has none.
    """

    scale: str
    variance: str
    shift: str = ""
    mean: str = ""
    offset: str = ""

    @property
    def own(self) -> tuple[str, ...]:
        """Those of the norm itself."""
        return tuple(filter(None, (self.scale, self.shift, self.mean, self.variance)))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.own, self.offset) if self.offset else self.own


def folds(array: Array, stored: Array) -> Iterator[Fold]:
    """The ways in which `stored` is `array` with every channel along one axis scaled."""
    if array.ndim < 2 or array.size != stored.size:
        return
    own = np.asarray(array, np.float64)
    for order in orders(stored.shape):
        if permuted(stored.shape, order) != bare(array.shape):
            continue
        other = np.asarray(stored, np.float64).transpose(order).reshape(array.shape)
        for axis in range(array.ndim):
            rest = tuple(a for a in range(array.ndim) if a != axis)
            if array.shape[axis] == array.size:
                continue
            power = (own * own).sum(rest, keepdims=True)
            scale = (own * other).sum(rest, keepdims=True) / np.maximum(power, 1e-300)
            if close(scale * own, other):
                yield Fold(order, axis, scale.reshape(-1))


def norms(
    weights: Arrays,
    names: Iterable[str],
    fold: Fold,
    bias: Array | None,
    offsets: Iterable[str] = (),
) -> list[Norm]:
    """The vectors among those named that explain a scale and a bias of the file.

    Args:
        weights: the checkpoint.
        names: of its tensors that have no other place.
        fold: the scale.
        bias: what the file adds to each channel, `[channels]`; None where only the scale counts.
        offsets: names of what may be the bias of the weight itself.
    """
    size = fold.scale.size
    known = {n: np.asarray(weights[n], np.float64) for n in names if weights[n].shape == (size,)}
    pairs = [(g, v) for g, v in permutations(known, 2) if _scales(known[g], known[v], fold.scale)]
    if bias is None:
        return [Norm(*pair) for pair in pairs]
    if bias.size != size or not pairs:
        return []
    wanted = np.asarray(bias, np.float64).reshape(-1)
    found: list[Norm] = []
    for mean, offset in product(known, ("", *(n for n in offsets if n in known))):
        middle = known[mean] - (known[offset] if offset else 0.0)
        shift = wanted + middle * fold.scale
        largest = float(max(np.abs(wanted).max(), np.abs(middle * fold.scale).max()))
        for b in known:
            if close(known[b], shift, largest):
                each = [Norm(g, v, b, mean, offset) for g, v in pairs]
                found += [norm for norm in each if len(set(norm.names)) == len(norm.names)]
    return [norm for norm in found if not norm.offset] or found


def twins(weights: Arrays, fold: Fold) -> tuple[str, ...]:
    """Two vectors that explain a scale as well as each other does; none where one is told apart.

    Before training every norm holds ones and zeros, and scales all channels by one number.
    """
    if not close(fold.scale[:1], fold.scale):
        return ()
    known = {
        n: np.asarray(a, np.float64) for n, a in weights.items() if a.shape == fold.scale.shape
    }
    pairs = ((g, v) for g, v in permutations(known, 2) if _scales(known[g], known[v], fold.scale))
    gains = dict.fromkeys(g for g, _ in islice(pairs, 2 * len(known)))
    return tuple(islice(gains, 2)) if len(gains) > 1 else ()


def _scales(gain: Vector, variance: Vector, scale: Vector) -> bool:
    """Whether gain / sqrt(variance + epsilon) is the scale, for some epsilon."""
    if variance.min() < 0:
        return False
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        epsilon = (gain / scale) ** 2 - variance
    epsilon = epsilon[np.isfinite(epsilon)]
    if not epsilon.size:
        return False
    low = float(np.clip(np.median(epsilon), 0.0, 0.01))
    tries = {low, 1e-5, 1e-3}
    with np.errstate(divide="ignore", invalid="ignore"):
        return any(close(gain / np.sqrt(variance + e), scale) for e in tries)


def close(
    left: NDArray[np.float64], right: NDArray[np.float64], largest: float | None = None
) -> bool:
    """Whether two arrays are the same but for rounding of numbers up to `largest`."""
    size = float(np.abs(right).max(initial=0.0)) if largest is None else largest
    return bool(np.abs(left - right).max(initial=0.0) <= CLOSE * max(size, 1e-30))
