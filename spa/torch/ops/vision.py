"""Pictures: sampled at computed places, cut out of regions, put together from windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import ALL, op
from spa.torch.values import ints

Ints = Sequence[int]
MODES = {"linear": "bilinear", "cubic": "bicubic"}


@op("GridSample", since=16)
def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    return functional.grid_sample(
        x, grid, MODES.get(mode, mode), padding_mode, align_corners=bool(align_corners)
    )


@op("AffineGrid", host=(1,))
def affine_grid(theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    return functional.affine_grid(theta, ints(size), align_corners=bool(align_corners))


@op("Col2Im", host=(1, 2))
def col2im(
    x: Tensor,
    size: Tensor,
    block: Tensor,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Windows added up where they overlap."""
    shape, kernel = ints(size), ints(block)
    rank = len(shape)
    reach, step = list(dilations or [1] * rank), list(strides or [1] * rank)
    around = list(pads or [0] * 2 * rank)
    whole = [n + around[k] + around[k + rank] for k, n in enumerate(shape)]
    number = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(whole, kernel, reach, step, strict=True)
    ]
    cells = math.prod(kernel)
    columns = x.reshape(x.shape[0], -1, cells, *number)
    made = x.new_zeros((x.shape[0], columns.shape[1], *whole))
    for k, place in enumerate(itertools.product(*map(range, kernel))):
        where = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, reach, number, step, strict=True)
        )
        made[(slice(None), slice(None), *where)] += columns[:, :, k]
    for k, n in enumerate(shape):
        made = made.narrow(k + 2, around[k], n)
    return made


@op("DeformConv")
def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """A convolution whose taps are moved by offsets: bilinear, 0 outside."""
    (sh, sw), (dh, dw) = strides or (1, 1), dilations or (1, 1)
    top, left = (pads or (0, 0, 0, 0))[:2]
    kh, kw = w.shape[2:]
    n, _, height, width = x.shape
    oh, ow = offset.shape[2:]
    rows = (torch.arange(oh, device=x.device) * sh - top)[:, None].to(x.dtype)
    columns = (torch.arange(ow, device=x.device) * sw - left)[None].to(x.dtype)
    moved = offset.reshape(n, offset_group, kh * kw, 2, oh, ow)
    weights = None if mask is None else mask.reshape(n, offset_group, kh * kw, oh, ow)
    parts = x.chunk(offset_group, 1)
    taps = []
    for k in range(kh * kw):
        sampled = []
        for g, part in enumerate(parts):
            at_row = rows + k // kw * dh + moved[:, g, k, 0]
            at_column = columns + k % kw * dw + moved[:, g, k, 1]
            grid = [(2 * at_column + 1) / width - 1, (2 * at_row + 1) / height - 1]
            found = functional.grid_sample(part, torch.stack(grid, -1), align_corners=False)
            sampled.append(found if weights is None else found * weights[:, g, k][:, None])
        taps.append(torch.cat(sampled, 1))
    stacked = torch.stack(taps, 2).reshape(n, group, -1, kh * kw, oh, ow)
    kernels = w.reshape(group, -1, w.shape[1], kh * kw)
    made = torch.einsum("ngckhw,gock->ngohw", stacked, kernels).reshape(n, -1, oh, ow)
    return made if b is None else made + b.reshape(-1, 1, 1)


@op("RoiAlign", until=15, steer=(2,))
def roi_align_10(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    size = output_height, output_width
    return _aligned(x, rois * spatial_scale, batch, mode, size, sampling_ratio, False)


@op("RoiAlign", since=16, steer=(2,))
def roi_align(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    half = coordinate_transformation_mode == "half_pixel"
    scaled = rois * spatial_scale - (0.5 if half else 0.0)
    size = output_height, output_width
    return _aligned(x, scaled, batch, mode, size, sampling_ratio, half)


def _aligned(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    mode: str,
    size: tuple[int, int],
    ratio: int,
    half: bool,
) -> Tensor:
    made = []
    for roi, which in zip(rois, batch.long(), strict=True):
        left, top, right, bottom = roi.unbind()
        extent = [bottom - top, right - left]
        extent = extent if half else [e.clamp(min=1.0) for e in extent]
        each = [ratio or math.ceil(e.item() / n) for e, n in zip(extent, size, strict=True)]
        places = [
            first + (torch.arange(n * m, device=x.device, dtype=x.dtype) + 0.5) * e / (n * m)
            for first, e, n, m in zip((top, left), extent, size, each, strict=True)
        ]
        taps = _bilinear(x[which], *places)
        blocks = taps.reshape(len(taps), x.shape[1], size[0], each[0], size[1], each[1])
        if mode == "avg":
            made.append(blocks.sum(0).mean((2, 4)))
        else:
            made.append(blocks.amax((0, 3, 5)))
    return torch.stack(made) if made else x.new_zeros((0, x.shape[1], *size))


def _bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The four neighbours of each place, times their weights: `[4, c, rows, columns]`."""
    found = []
    near = [_neighbours(rows, x.shape[1]), _neighbours(columns, x.shape[2])]
    for (at_row, by_row), (at_column, by_column) in itertools.product(*near):
        values = x.index_select(1, at_row).index_select(2, at_column)
        found.append(values * by_row[:, None] * by_column)
    return torch.stack(found)


def _neighbours(at: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    inside = (at >= -1) & (at <= size)
    kept = at.clamp(min=0)
    low = kept.floor().long().clamp(max=size - 1)
    kept = torch.where(low == size - 1, low.to(at.dtype), kept)
    high = (low + 1).clamp(max=size - 1)
    share = kept - low
    zero = torch.zeros_like(share)
    return [
        (low, torch.where(inside, 1 - share, zero)),
        (high, torch.where(inside, share, zero)),
    ]


@op("MaxRoiPool", steer=(1,))
def max_roi_pool(
    x: Tensor, rois: Tensor, *, pooled_shape: Ints, spatial_scale: float = 1.0
) -> Tensor:
    """The largest of every bin of whole pixels; 0 where a bin has none."""
    made = []
    for roi in rois.tolist():
        picture = x[int(roi[0])]
        left, top, right, bottom = (math.floor(v * spatial_scale + 0.5) for v in roi[1:])
        rows = _bins(top, bottom, pooled_shape[0], x.shape[2])
        columns = _bins(left, right, pooled_shape[1], x.shape[3])
        cells = [
            picture[:, a:b, c:d].amax((1, 2)) if b > a and d > c else picture.new_zeros(x.shape[1])
            for a, b in rows
            for c, d in columns
        ]
        made.append(torch.stack(cells, 1).reshape(-1, *pooled_shape))
    return torch.stack(made)


def _bins(first: int, last: int, number: int, size: int) -> list[tuple[int, int]]:
    each = max(last - first + 1, 1) / number
    return [
        (
            min(max(math.floor(k * each) + first, 0), size),
            min(max(math.ceil((k + 1) * each) + first, 0), size),
        )
        for k in range(number)
    ]


@op("NonMaxSuppression", steer=ALL, host=(2, 3, 4))
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """Batch, class and box of what stays, `[number, 3]`."""
    limit = 0 if most is None else int(most.reshape(-1)[0].item())
    bound = 0.0 if overlap is None else float(overlap.reshape(-1)[0].item())
    low = -math.inf if least is None else float(least.reshape(-1)[0].item())
    found = [
        (batch, kind, box)
        for batch in range(scores.shape[0] if limit > 0 else 0)
        for kind in range(scores.shape[1])
        for box in _kept(boxes[batch], scores[batch, kind], limit, bound, low, center_point_box)
    ]
    return torch.tensor(found, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _kept(
    boxes: Tensor, scores: Tensor, limit: int, bound: float, low: float, centred: int
) -> list[int]:
    corners = _corners(boxes, centred)
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > low]
    kept: list[int] = []
    while order.numel() and len(kept) < limit:
        best = order[0]
        kept.append(int(best))
        rest = order[1:]
        near = torch.maximum(corners[best, :2], corners[rest, :2])
        far = torch.minimum(corners[best, 2:], corners[rest, 2:])
        meet = (far - near).clamp(min=0).prod(1)
        union = area[best] + area[rest] - meet
        order = rest[~((meet / union) > bound)]
    return kept


def _corners(boxes: Tensor, centred: int) -> Tensor:
    """Least and greatest corners."""
    if centred:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return torch.cat([middle - half, middle + half], 1)
    a, b = boxes[:, :2], boxes[:, 2:]
    return torch.cat([torch.minimum(a, b), torch.maximum(a, b)], 1)
