"""Dead leaves: pictures of occluding shapes, with the statistics of photographs but no content.

Shapes of all sizes (density 1/r^3, which makes the picture look the same at any distance) fall on
one another; what matters for pruning is their edges and scales, mild colour helps, and texture
hardly does.  Pixels are in 0..1, `[rows, channels, height, width]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.probes.probe import generator, inputs

Floats = NDArray[np.float32]

SHAPES = 96
SMALLEST, LARGEST = 0.045, 0.6  # radii, as shares of the shorter side
CHROMA, TINT = 0.25, 0.24
"""How colourful shapes are, and the light of a whole picture: as much as in small photographs."""
BRIGHTNESS = 0.36  # how far pictures differ in brightness
TEXTURE = 0.02
SHADING = 0.06
"""How much a shape darkens from one side to the other, and a picture from corner to corner."""
WINDOWED = 64 * 64
"""Pixels from which a shape is painted within its own window instead of over the whole picture."""
BLOCK = 64
"""Pictures painted together: enough to hide the overhead, few enough to stay in the cache."""


@dataclass(frozen=True)
class Leaves:
    """The shapes of some pictures; every array is `[rows, shapes, ...]`, lengths in pixels."""

    at: Floats
    turn: Floats
    radius: Floats
    colour: Floats
    shade: Floats


@inputs(noun="dead leaves")
def leaves(rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = "") -> Floats:
    """Pictures of shapes that hide one another, as in photographs.

    Dead leaves: sizes, edges and colours are those of photographs (see "Synthetic inputs").
    """
    channels, height, width = shape
    parts = [
        _paint([generator(seed, name, row) for row in rows[k : k + BLOCK]], channels, height, width)
        for k in range(0, len(rows), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, channels, height, width), np.float32)


def _paint(randoms: list[np.random.Generator], channels: int, height: int, width: int) -> Floats:
    drawn = _draw(randoms, channels, height, width)
    canvas = np.repeat(drawn.colour[:, 0, :, None, None], height, 2).repeat(width, 3)
    if height * width < WINDOWED:
        for step in range(1, SHAPES):
            _drop(canvas, drawn, slice(None), step, (0, height), (0, width))
    else:
        for row, step in np.ndindex(len(randoms), SHAPES):
            reach = float(drawn.radius[row, step].max()) * math.sqrt(2) + 1
            (y, x) = drawn.at[row, step]
            rows = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach) + 1)
            columns = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach) + 1)
            if step and rows[0] < rows[1] and columns[0] < columns[1]:
                _drop(canvas, drawn, slice(row, row + 1), step, rows, columns)
    canvas += _grain(randoms, height, width)[:, None]
    return np.clip(canvas, 0, 1, out=canvas)


def _draw(randoms: list[np.random.Generator], channels: int, height: int, width: int) -> Leaves:
    """Everything random about the shapes, picture by picture so that each has its own."""
    drawn = np.stack([r.random((SHAPES, 8 + 2 * channels), np.float32) for r in randoms])
    side = min(height, width)
    margin = 0.1 * side
    at = drawn[..., :2] * np.array([height + 2 * margin, width + 2 * margin], np.float32) - margin
    # The inverse of the distribution of a density of 1/r^3 between the smallest and the largest.
    ends = SMALLEST**-2, LARGEST**-2
    radius = (ends[0] + drawn[..., 2] * (ends[1] - ends[0])) ** -0.5 * side
    stretch = np.exp(0.9 * (drawn[..., 3] - 0.5))
    turn = 2 * np.pi * drawn[..., 4]
    # Pictures differ in brightness and contrast.
    bright = 0.46 + BRIGHTNESS * (drawn[:, :1, 5] - 0.5)
    light = bright + (0.6 + 0.5 * drawn[:, :1, 7]) * (drawn[..., 6] - 0.5)
    hue, tint = np.split(drawn[..., 8:] - 0.5, 2, axis=-1)
    cast = CHROMA * hue + TINT * tint[:, :1]
    colour = light[..., None] + cast - cast.mean(-1, keepdims=True)
    shade = 2 * SHADING * (drawn[..., 5] - 0.5)
    both = np.stack([radius * stretch, radius / stretch], -1)
    return Leaves(
        at.astype(np.float32), turn.astype(np.float32), both.astype(np.float32),
        colour.astype(np.float32), shade.astype(np.float32),
    )  # fmt: skip


def _drop(
    canvas: Floats,
    drawn: Leaves,
    rows: slice,
    step: int,
    tall: tuple[int, int],
    wide: tuple[int, int],
) -> None:
    """Let one shape fall on each picture of `rows`, within a window."""
    y: Floats = np.arange(*tall, dtype=np.float32)[None, :, None] - drawn.at[rows, step, :1, None]
    x: Floats = np.arange(*wide, dtype=np.float32)[None, None, :] - drawn.at[rows, step, 1:, None]
    turn = drawn.turn[rows, step, None, None]
    sine, cosine = np.sin(turn), np.cos(turn)
    long, short = np.split(drawn.radius[rows, step, :, None, None], 2, 1)
    u: Floats = (x * cosine + y * sine) / long[:, 0]
    v: Floats = (y * cosine - x * sine) / short[:, 0]
    # Edges are one pixel wide, as a camera sees them.
    inside = (1 - KINDS[step % len(KINDS)](u, v)) * np.minimum(long, short)[:, 0] + 0.5
    inside = np.clip(inside, 0, 1, out=inside)[:, None]
    colour = drawn.colour[rows, step, :, None, None]
    target = colour + (drawn.shade[rows, step, None, None] * u)[:, None]
    window = canvas[rows, :, tall[0] : tall[1], wide[0] : wide[1]]
    window += inside * (target - window)


def _round(u: Floats, v: Floats) -> Floats:
    return np.sqrt(u * u + v * v)


def _square(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v))


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(v, np.float32(0.866) * np.abs(u) - np.float32(0.5) * v) * np.float32(1.5)


def _hexagon(u: Floats, v: Floats) -> Floats:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(v, np.float32(0.866) * u + np.float32(0.5) * v) * np.float32(1.1)


KINDS: tuple[Callable[[Floats, Floats], Floats], ...] = (
    _round, _square, _round, _triangle, _square, _hexagon,
)  # fmt: skip
"""How far out a point is; 1 at the edge."""


def _grain(randoms: list[np.random.Generator], height: int, width: int) -> Floats:
    """Faint 1/f texture and a slope of light, `[rows, height, width]`."""
    white = np.stack([r.standard_normal((height, width), np.float32) for r in randoms])
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    rate = np.hypot(down, across)
    rate[0, 0] = np.inf
    pink = np.fft.irfft2(np.fft.rfft2(white) / rate, s=(height, width))
    pink *= TEXTURE / (pink.std((1, 2), keepdims=True) + 1e-12)
    slope = np.stack([r.uniform(-SHADING, SHADING, 2) for r in randoms])
    rise, run = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    light = slope[:, 0, None, None] * rise + slope[:, 1, None, None] * run
    return np.asarray(pink + light, np.float32)
