"""Where the gradient moves: an input as numbers of one range, and what leaves it what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COLOURS = (1, 3, 4)
SMALLEST = 8
"""Pixels of the shorter side of anything that is a picture."""
REACH = 28
"""Pictures are shifted by at most one of so many parts of their side, and by 2 pixels at least."""


@dataclass(frozen=True)
class Layout:
    """What the axes of an input `[rows, ...]` are.

    Attributes:
        channel: the axis of channels.
        spatial: axes along which neighbours are alike and which may be shifted.
        mirrored: the axis along which a picture may be turned about, if any may.
    """

    channel: int
    spatial: tuple[int, ...]
    mirrored: int | None

    @staticmethod
    def of(shape: Sequence[int], pictured: bool) -> Layout:
        """Of an input whose run has this shape; what are no pictures has no neighbours."""
        if not pictured or len(shape) != 4:
            return Layout(1 if len(shape) > 1 else 0, (), None)
        last = shape[1] not in COLOURS and shape[3] in COLOURS
        channel, spatial = (3, (1, 2)) if last else (1, (2, 3))
        coloured = shape[channel] == 3  # letters and digits are not the same from behind
        return Layout(channel, spatial, spatial[1] if coloured else None)


@dataclass(frozen=True)
class Span:
    """The range of every channel, `[1, channels, 1, ...]`: what is moved lies in 0..1."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(arrays: Sequence[NDArray[np.generic]], layout: Layout, device: str) -> Span:
        """The range that inputs cover."""
        axes = tuple(axis for axis in range(arrays[0].ndim) if axis != layout.channel)
        low = np.min([a.min(axes, keepdims=True) for a in arrays], 0).astype(np.float32)
        high = np.max([a.max(axes, keepdims=True) for a in arrays], 0).astype(np.float32)
        high = np.where(high > low, high, low + 1)
        return Span(torch.tensor(low, device=device), torch.tensor(high, device=device))

    def enter(self, x: Tensor) -> Tensor:
        """From the model's numbers to 0..1."""
        return (x - self.low) / (self.high - self.low)

    def leave(self, u: Tensor) -> Tensor:
        """And back."""
        return self.low + u * (self.high - self.low)


def jittered(u: Tensor, layout: Layout, random: np.random.Generator) -> Tensor:
    """The same pictures, shifted a little all alike, and perhaps turned about."""
    if not layout.spatial:
        return u
    reach = [max(2, u.shape[axis] // REACH) for axis in layout.spatial]
    shifts = [int(random.integers(-far, far + 1)) for far in reach]
    moved = torch.roll(u, shifts, layout.spatial)
    turned = random.random() < 0.5
    return moved.flip(layout.mirrored) if turned and layout.mirrored is not None else moved


def variation(u: Tensor, layout: Layout) -> Tensor:
    """Total variation: the mean difference of neighbours, summed over axes."""
    total = u.new_zeros(())
    for axis in layout.spatial:
        size = u.shape[axis] - 1
        total = total + (u.narrow(axis, 1, size) - u.narrow(axis, 0, size)).abs().mean()
    return total


def blurred(u: Tensor, layout: Layout) -> Tensor:
    """Half way to where every pixel is the mean of a neighbourhood of 3: what no loss has seen."""
    far = u
    for axis in layout.spatial:
        far = (torch.roll(far, 1, axis) + far + torch.roll(far, -1, axis)) / 3
    return (u + far) / 2
