"""A site as a matrix product: the columns it reads and the rows it makes, group by group.

Convolutions become products by im2col, so that one least-squares solver serves all of them:
out[o, m] = sum_f W[o, f] X[f, m], with f = (channel, kernel position) and m = (sample, pixel).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Attributes

ENOUGH = 30_000  # columns of a least-squares problem that are always used if there are so many
PER_FEATURE = 8  # columns per feature that are used beyond that
Array = NDArray[np.float32]


def unfold(
    x: Array,
    shape: tuple[int, ...],
    attrs: Attributes,
    out: tuple[int, ...],
    places: NDArray[np.int64] | None = None,
) -> Array:
    """im2col: `[N, C, *space]` to `[C · kernel, N · places]` for a convolution weight `shape`.

    `out` are the spatial sizes of the output, `places` flat positions in it (all by default).
    """
    kernel, rank = shape[2:], len(out)
    strides, dilations = steps_of(attrs, rank)
    pads = pads_of(x.shape[2:], kernel, strides, dilations, attrs, out)
    padded = np.pad(x, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else x
    n, c, *sizes = padded.shape
    if places is not None:
        flat = np.arange(prod(sizes)).reshape(sizes)
        at = _windows(flat, kernel, strides, dilations)[np.unravel_index(places, out)]
        at = at.reshape(len(places), -1).T
        taken = padded.reshape(n, c, -1).take(at.ravel(), axis=2)
        return _side_by_side(taken.reshape(n, c * len(at), -1))
    order = (1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))
    columns = _windows(padded, kernel, strides, dilations).transpose(order)
    return np.ascontiguousarray(columns, np.float32).reshape(c * prod(kernel), -1)


def _windows(
    x: NDArray[Any], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> NDArray[Any]:
    """What the kernel reads at every place: `[..., *places, *kernel]` of `[..., *space]`."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(-len(spans), 0)))
    steps: tuple[Any, ...] = tuple(slice(None, None, step) for step in (*strides, *dilations))
    return np.asarray(found[(..., *steps)])


def _side_by_side(x: Array) -> Array:
    """`[N, rows, m]` to `[rows, N · m]`."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(x.shape[1], -1)


def unfold_transposed(
    x: Array,
    shape: tuple[int, ...],
    attrs: Attributes,
    out: tuple[int, ...],
    places: NDArray[np.int64] | None = None,
) -> Array:
    """The same for a transposed convolution with a weight of `shape` `[C, O, *kernel]`.

    Its input with `stride - 1` zeros between pixels is convolved with the kernel flipped.
    """
    kernel = shape[2:]
    strides, dilations = steps_of(attrs, len(kernel))
    before, _ = given_pads(attrs, len(kernel))
    sizes = [o + d * (k - 1) for o, k, d in zip(out, kernel, dilations, strict=True)]
    sparse = np.zeros((*x.shape[:2], *sizes), np.float32)
    take: list[slice] = [slice(None)] * 2
    give: list[slice] = [slice(None)] * 2
    for size, n, k, s, d, pad in zip(
        sizes, x.shape[2:], kernel, strides, dilations, before, strict=True
    ):
        first = d * (k - 1) - pad  # where pixel 0 comes to lie; it may be cropped away
        skip = max(-(first // s), 0)
        count = max(min(n, (size - 1 - first) // s + 1), skip)
        take.append(slice(skip, count))
        give.append(slice(first + skip * s, first + count * s, s))
    sparse[tuple(give)] = x[tuple(take)]
    plain = {"dilations": dilations}
    return unfold(sparse, (x.shape[1], x.shape[1], *kernel), plain, out, places)


def steps_of(attrs: Attributes, rank: int) -> tuple[Sequence[int], Sequence[int]]:
    """Strides and dilations along the spatial axes; 1 where the file says nothing."""
    ones = [1] * rank
    return attrs.get("strides") or ones, attrs.get("dilations") or ones


def given_pads(attrs: Attributes, rank: int) -> tuple[Sequence[int], Sequence[int]]:
    """Padding before and after every spatial axis as the file gives it; 0 where it does not."""
    pads = attrs.get("pads") or [0] * (2 * rank)
    return pads[:rank], pads[rank:]


def pads_of(
    space: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    attrs: Attributes,
    out: Sequence[int],
) -> list[tuple[int, int]]:
    """Padding before and after every spatial axis, worked out where the file says SAME_UPPER."""
    auto = attrs.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(zip(*given_pads(attrs, len(kernel)), strict=True))
    found = []
    for size, k, s, d, o in zip(space, kernel, strides, dilations, out, strict=True):
        total = 0 if auto == "VALID" else max((o - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        found.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
    return found


def space(sizes: Sequence[int], kernel: Sequence[int], attrs: Attributes) -> tuple[int, ...]:
    """Spatial sizes of what a convolution makes of an input with spatial `sizes`."""
    strides, dilations = steps_of(attrs, len(kernel))
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))
    pads = pads_of(sizes, kernel, strides, dilations, attrs, sizes)
    return tuple(
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(sizes, pads, kernel, dilations, strides, strict=True)
    )


def space_transposed(
    sizes: Sequence[int], kernel: Sequence[int], attrs: Attributes
) -> tuple[int, ...]:
    """The same for a transposed convolution with padding given in numbers."""
    strides, dilations = steps_of(attrs, len(kernel))
    first, last = given_pads(attrs, len(kernel))
    more = attrs.get("output_padding") or [0] * len(kernel)
    return tuple(
        s * (n - 1) + extra + (k - 1) * d + 1 - before - after
        for n, s, k, d, extra, before, after in zip(
            sizes, strides, kernel, dilations, more, first, last, strict=True
        )
    )


def rows_of(y: Array, places: NDArray[np.int64] | None = None) -> Array:
    """`[N, O, *space]` to `[O, N · places]`."""
    rows = y.reshape(*y.shape[:2], -1)
    return _side_by_side(rows if places is None else rows.take(places, axis=2))


def places_for(features: int, places: int, columns: int, seed: int) -> NDArray[np.int64] | None:
    """Which of the `places` of a batch are enough to fit `features`; None means all.

    Neighbouring pixels say nearly the same, so `ENOUGH` columns and `PER_FEATURE` per feature do.
    There are `columns` at each place (samples, for convolutions), those of all batches together.
    """
    count = -(-max(ENOUGH, PER_FEATURE * features) // max(columns, 1))
    if count >= places:
        return None
    return np.sort(np.random.default_rng(seed).choice(places, count, replace=False))
