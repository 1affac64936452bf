"""A site as a matrix product: the columns it reads and the rows it makes, group by group.

Convolutions become products by im2col, so that one least-squares solver serves all of them:
out[o, m] = sum_f W[o, f] X[f, m], with f = (channel, kernel position) and m = (sample, pixel).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENOUGH = 60_000  # columns of a least-squares problem that are always used if there are so many
PER_FEATURE = 32  # columns per feature that are used beyond that
Array = NDArray[np.float32]


def unfold(
    x: Array,
    shape: tuple[int, ...],
    attrs: Mapping[str, Any],
    out: tuple[int, ...],
    places: NDArray[np.int64] | None = None,
) -> Array:
    """im2col: `[N, C, *space]` to `[C · kernel, N · places]` for a convolution weight `shape`.

    Args:
        x: input of the convolution.
        shape: shape of its weight.
        attrs: its attributes.
        out: the spatial sizes of its output.
        places: flat output positions to take (all by default).
    """
    kernel = shape[2:]
    strides = attrs.get("strides") or [1] * len(kernel)
    dilations = attrs.get("dilations") or [1] * len(kernel)
    pads = pads_of(x.shape[2:], kernel, strides, dilations, attrs, out)
    padded = np.pad(x, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else x
    padded = padded.swapaxes(0, 1)
    c, n = padded.shape[:2]
    flat = np.arange(int(np.prod(out))) if places is None else places
    corner = [i * s for i, s in zip(np.unravel_index(flat, out), strides, strict=True)]
    columns = np.empty((c, int(np.prod(kernel)), n, len(flat)), np.float32)
    for f, tap in enumerate(np.ndindex(*kernel)):
        if places is None:
            window = tuple(
                slice(t * d, t * d + s * (o - 1) + 1, s)
                for t, d, s, o in zip(tap, dilations, strides, out, strict=True)
            )
            columns[:, f] = padded[(slice(None), slice(None), *window)].reshape(c, n, -1)
        else:
            at = tuple(i + t * d for i, t, d in zip(corner, tap, dilations, strict=True))
            columns[:, f] = padded[(slice(None), slice(None), *at)]
    return columns.reshape(c * columns.shape[1], -1)


def pads_of(
    space: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    attrs: Mapping[str, Any],
    out: Sequence[int],
) -> list[tuple[int, int]]:
    """Padding before and after every spatial axis, worked out where the file says SAME_UPPER."""
    auto = attrs.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        pads = attrs.get("pads") or [0] * (2 * len(kernel))
        return list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    found = []
    for size, k, s, d, o in zip(space, kernel, strides, dilations, out, strict=True):
        total = 0 if auto == "VALID" else max((o - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        found.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
    return found


def rows_of(y: Array, places: NDArray[np.int64] | None = None) -> Array:
    """`[N, O, *space]` to `[O, N · places]`."""
    rows = y.swapaxes(0, 1).reshape(y.shape[1], y.shape[0], -1)
    return (rows if places is None else rows[:, :, places]).reshape(y.shape[1], -1)


def places_for(
    features: int, samples: int, out: Sequence[int], seed: int
) -> NDArray[np.int64] | None:
    """Output positions per sample that are enough to fit `features` columns; None means all.

    Neighbouring pixels say nearly the same, so `ENOUGH` columns and `PER_FEATURE` per feature do.
    """
    size = int(np.prod(out))
    wanted = -(-max(ENOUGH, PER_FEATURE * features) // max(samples, 1))
    if wanted >= size:
        return None
    return np.sort(np.random.default_rng(seed).choice(size, wanted, replace=False))
