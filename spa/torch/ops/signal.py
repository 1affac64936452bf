"""Signals: transforms, windows, mel filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spa.torch.registry import op
from spa.torch.values import dtype_of


@op("DFT", until=19, host=(1,))
def dft_17(
    x: Tensor, length: Tensor | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Tensor:
    return _transformed(x, length, axis, inverse, onesided)


@op("DFT", since=20, host=(1, 2))
def dft(
    x: Tensor,
    length: Tensor | None = None,
    axis: Tensor | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    along = -2 if axis is None else int(axis.item())
    return _transformed(x, length, along, inverse, onesided)


def _transformed(
    x: Tensor, length: Tensor | None, axis: int, inverse: int, onesided: int
) -> Tensor:
    """Real and imaginary parts lie along the last axis, which `axis` counts."""
    along = axis % x.dim()
    number = None if length is None else int(length.item())
    z = torch.complex(x[..., 0], x[..., 1] if x.shape[-1] == 2 else torch.zeros_like(x[..., 0]))
    if inverse and onesided:
        return torch.fft.irfft(z, number, along)[..., None]
    made = torch.fft.ifft(z, number, along) if inverse else torch.fft.fft(z, number, along)
    if onesided:
        made = made.narrow(along, 0, made.shape[along] // 2 + 1)
    return torch.view_as_real(made)


@op("STFT", host=(1, 3))
def stft(
    x: Tensor,
    step: Tensor,
    window: Tensor | None = None,
    length: Tensor | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """Of frames without padding, `[batch, frames, bins, 2]`."""
    size = window.shape[0] if length is None and window is not None else _item(length)
    z = x[..., 0] if x.dim() == 3 and x.shape[-1] == 1 else x
    if x.dim() == 3 and x.shape[-1] == 2:
        z = torch.complex(x[..., 0], x[..., 1])
    frames = z.unfold(1, size, _item(step))
    frames = frames if window is None else frames * window
    made = torch.fft.fft(frames, dim=-1)
    made = made[..., : size // 2 + 1] if onesided else made
    return torch.view_as_real(made)


def _item(value: Tensor | None) -> int:
    if value is None:
        raise ValueError("neither a window nor the length of frames is given")
    return int(value.reshape(-1)[0].item())


def _cosines(size: Tensor, periodic: int, dtype: int, factors: tuple[float, ...]) -> Tensor:
    number = int(size.item())
    angle = 2 * math.pi * torch.arange(number, dtype=torch.float64)
    angle = angle / (number if periodic else number - 1)
    made = sum(a * torch.cos(k * angle) for k, a in enumerate(factors))
    return torch.as_tensor(made).to(dtype_of(dtype, "a window"))


@op("HannWindow", host=(0,), moves=True)
def hann_window(size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return _cosines(size, periodic, output_datatype, (0.5, -0.5))


@op("HammingWindow", host=(0,), moves=True)
def hamming_window(size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return _cosines(size, periodic, output_datatype, (25 / 46, -21 / 46))


@op("BlackmanWindow", host=(0,), moves=True)
def blackman_window(size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return _cosines(size, periodic, output_datatype, (0.42, -0.5, 0.08))


@op("MelWeightMatrix", host=(0, 1, 2, 3, 4), moves=True)
def mel_weight_matrix(
    bands: Tensor,
    length: Tensor,
    rate: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    output_datatype: int = 1,
) -> Tensor:
    """Triangles over the bins of a spectrum, `[bins, bands]`."""
    number, size = int(bands.item()), int(length.item())
    bins = size // 2 + 1
    ends = [2595 * math.log10(1 + f.item() / 700) for f in (low, high)]
    mels = torch.linspace(0, number + 1, number + 2, dtype=torch.float64)
    mels = ends[0] + mels * (ends[1] - ends[0]) / (number + 2)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    at = torch.floor((size + 1) * hertz / rate.item()).long()
    made = torch.zeros(bins, number, dtype=torch.float64)
    for band in range(number):
        first, middle, last = at[band : band + 3].tolist()
        if middle == first:
            made[middle, band] = 1
        else:
            rising = torch.arange(first, middle + 1)
            made[rising, band] = (rising - first).double() / (middle - first)
        if last > middle:
            falling = torch.arange(middle, last)
            made[falling, band] = (last - falling).double() / (last - middle)
    return made.to(dtype_of(output_datatype, "mel weights"))
