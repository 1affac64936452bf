"""Resizing: along one axis after the other, as weighted sums of a few neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import op
from spa.torch.values import ints

Ints = Sequence[int]
Floats = Sequence[float]


@dataclass(frozen=True)
class Way:
    """How positions become neighbours and weights; the attributes of Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    excluded: bool = False
    antialias: bool = False
    beyond: float = 0.0


@op("Upsample", until=8)
def upsample_7(x: Tensor, *, mode: str = "nearest", scales: Floats) -> Tensor:
    return _upsampled(x, scales, mode)


@op("Upsample", since=9, host=(1,))
def upsample(x: Tensor, scales: Tensor, *, mode: str = "nearest") -> Tensor:
    return _upsampled(x, scales.tolist(), mode)


@op("Resize", until=10, host=(1,))
def resize_10(x: Tensor, scales: Tensor, *, mode: str = "nearest") -> Tensor:
    return _upsampled(x, scales.tolist(), mode)


def _upsampled(x: Tensor, scales: Floats, mode: str) -> Tensor:
    size = [math.floor(n * s) for n, s in zip(x.shape, scales, strict=True)]
    return resized(x, size, scales, range(x.dim()), [], Way(mode, "asymmetric", "floor"))


@op("Resize", since=11, host=(1, 2, 3))
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    along = range(x.dim()) if axes is None else [a % x.dim() for a in axes]
    before = [x.shape[a] for a in along]
    if scales is not None and scales.numel():
        times = scales.tolist()
        size = [math.floor(n * s) for n, s in zip(before, times, strict=True)]
    else:
        size = ints(sizes)
        times = [a / b for a, b in zip(size, before, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            one = min(times) if keep_aspect_ratio_policy == "not_larger" else max(times)
            times = [one] * len(times)
            size = [math.floor(n * one + 0.5) for n in before]
    way = Way(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
        extrapolation_value,
    )
    area = [] if roi is None else roi.tolist()
    return resized(x, size, times, along, area, way)


def resized(x: Tensor, size: Ints, scales: Floats, axes: Ints, roi: Floats, way: Way) -> Tensor:
    """A tensor with some axes resized; integers are rounded."""
    fast = _known(x, size, scales, axes, way)
    if fast is not None:
        return fast
    whole = x.is_floating_point() or way.mode == "nearest"
    made = x if whole else x.double()
    outside = None
    for k, (axis, new, scale) in enumerate(zip(axes, size, scales, strict=True)):
        old = x.shape[axis]
        if new == old and scale == 1 and way.coordinates != "tf_crop_and_resize":
            continue
        area = (roi[k], roi[k + len(axes)]) if roi else (0.0, 1.0)
        at = _positions(old, new, scale, area, way)
        made = _along(made, axis, at, scale, way)
        if way.coordinates == "tf_crop_and_resize":
            shape = [1] * x.dim()
            shape[axis] = new
            mine = torch.from_numpy((at < 0) | (at > old - 1)).reshape(shape)
            outside = mine if outside is None else outside | mine
    if outside is not None:
        made = torch.where(outside.to(x.device), made.new_tensor(way.beyond), made)
    return made if whole else made.round().to(x.dtype)


def _known(x: Tensor, size: Ints, scales: Floats, axes: Ints, way: Way) -> Tensor | None:
    """What torch has a kernel for: the last two of four axes, in the common ways."""
    stay = all(new == x.shape[a] for a, new in zip(axes, size, strict=True) if a < 2)
    if x.dim() != 4 or not stay or not x.is_floating_point() or way.excluded or way.antialias:
        return None
    by_axis = dict(zip(axes, zip(size, scales, strict=True), strict=True))
    spatial = [by_axis.get(a, (x.shape[a], 1.0)) for a in (2, 3)]
    exact = all(new == x.shape[a] * s for a, (new, s) in zip((2, 3), spatial, strict=True))
    target = [new for new, _ in spatial]
    if way.mode == "nearest":
        whole = exact and all(s == int(s) for _, s in spatial)
        floors = way.coordinates == "asymmetric" and way.nearest == "floor"
        halves = way.coordinates == "half_pixel" and way.nearest.startswith("round")
        if whole and (floors or halves):
            return functional.interpolate(x, size=target, mode="nearest")
        return None
    if way.mode == "linear" and exact and way.coordinates == "half_pixel":
        return functional.interpolate(x, size=target, mode="bilinear", align_corners=False)
    if way.mode == "linear" and way.coordinates == "align_corners" and exact:
        return functional.interpolate(x, size=target, mode="bilinear", align_corners=True)
    return None


def _positions(old: int, new: int, scale: float, roi: Floats, way: Way) -> np.ndarray:
    """Where along the old axis each place of the new one lies."""
    at = np.arange(new, dtype=np.float64)
    wide = scale * old
    if way.coordinates == "align_corners":
        return np.zeros(new) if wide == 1 else at * (old - 1) / (wide - 1)
    if way.coordinates == "asymmetric":
        return at / scale
    if way.coordinates == "tf_half_pixel_for_nn":
        return (at + 0.5) / scale
    if way.coordinates == "tf_crop_and_resize":
        low, high = roi
        if new == 1:
            return np.full(1, (high - low) * (old - 1) / 2 + low * (old - 1))
        return at * (high - low) * (old - 1) / (wide - 1) + low * (old - 1)
    if way.coordinates == "pytorch_half_pixel" and new == 1:
        return np.full(1, -0.5)
    offset = 0.0
    if way.coordinates == "half_pixel_symmetric":
        offset = old / 2 * (1 - new / wide)
    return offset + (at + 0.5) / scale - 0.5


def _along(x: Tensor, axis: int, at: np.ndarray, scale: float, way: Way) -> Tensor:
    old = x.shape[axis]
    if way.mode == "nearest":
        index = torch.from_numpy(np.clip(_rounded(at, way.nearest), 0, old - 1)).to(x.device)
        return x.index_select(axis, index)
    base = np.floor(at)
    offsets, weights = _weights(at - base, scale, way)
    index = base[:, None].astype(np.int64) + offsets
    if way.excluded:
        weights = np.where((index < 0) | (index >= old), 0.0, weights)
        weights = weights / weights.sum(1, keepdims=True)
    places = torch.from_numpy(np.clip(index, 0, old - 1)).to(x.device)
    factors = torch.from_numpy(weights).to(x)
    shape = [1] * x.dim()
    shape[axis] = len(at)
    terms = (
        x.index_select(axis, places[:, k]) * factors[:, k].reshape(shape)
        for k in range(len(offsets))
    )
    made = next(terms)
    for term in terms:
        made = made + term
    return made


def _rounded(at: np.ndarray, how: str) -> np.ndarray:
    if how == "floor":
        found = np.floor(at)
    elif how == "ceil":
        found = np.ceil(at)
    elif how == "round_prefer_ceil":
        found = np.floor(at + 0.5)
    else:
        found = np.ceil(at - 0.5)
    return found.astype(np.int64)


def _weights(ratio: np.ndarray, scale: float, way: Way) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours, counted from the one below a position, and what each weighs: `[places, n]`."""
    reach = 1 if way.mode == "linear" else 2
    shrunk = min(scale, 1.0) if way.antialias else 1.0
    first = math.floor(-reach / shrunk) + 1
    offsets = np.arange(first, 2 - first)
    distance = np.abs((offsets - ratio[:, None]) * shrunk)
    weights = np.clip(1 - distance, 0, 1) if reach == 1 else _cubic(distance, way.cubic)
    return offsets, weights / weights.sum(1, keepdims=True) if way.antialias else weights


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
