"""Signals along one long axis: noise of many colours, chirps on top, in bursts.

Recordings are neither white nor steady: their spectrum falls off, tones glide, and loud stretches
follow quiet ones.  Values are within -1..1, with an RMS of about 0.1, as speech has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spa.probes.noise import drawn
from spa.probes.probe import inputs

LOUDNESS = 0.1
CHIRPS = 3
STEEPEST = 1.5  # the amplitude of the noise falls off as 1/f to this power at most


@inputs(of="signals", noun="coloured noise and chirps")
def audio(
    rows: Sequence[int], shape: tuple[int, ...], *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    """Signals along one long axis: coloured noise and chirps.

    No input is taken for a picture then.
    """
    return drawn(rows, shape, seed, name, lambda random: _signal(random, *shape))


def _signal(random: np.random.Generator, channels: int, length: int) -> NDArray[np.float32]:
    rates = np.fft.rfftfreq(length)
    rates[0] = 0.5 / max(1, length)  # as loud as half the lowest frequency
    falling = rates ** -random.uniform(0, STEEPEST)
    white = np.fft.rfft(random.standard_normal((channels, length)))
    noise = np.fft.irfft(white * falling, n=length)
    noise /= np.sqrt((noise**2).mean(-1, keepdims=True)) + 1e-12
    mixed = noise + _chirps(random, channels, length)
    mixed *= _bursts(random, length)
    level = LOUDNESS * np.exp(0.5 * random.standard_normal())
    mixed *= level / (np.sqrt((mixed**2).mean()) + 1e-12)
    return np.asarray(np.clip(mixed, -1, 1), np.float32)


def _chirps(random: np.random.Generator, channels: int, length: int) -> NDArray[np.float64]:
    """Tones that glide from one frequency to another, with two overtones."""
    start, end = 0.5 ** random.uniform(2, 8, (2, CHIRPS, 1))
    time = np.arange(length)
    share = time / max(1, length)
    phase = 2 * np.pi * (start * time + (end - start) * share * time / 2)
    phase += random.uniform(0, 2 * np.pi, (CHIRPS, 1))
    tones = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    return np.asarray(random.normal(0, 0.7, (channels, CHIRPS)) @ tones)


def _bursts(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    """How loud it is at each time: a few knots, joined by lines."""
    knots = np.exp(0.8 * random.standard_normal(9))
    return np.interp(np.linspace(0, 8, length), np.arange(9), knots)
