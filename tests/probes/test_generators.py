"""What the made-up inputs look like, in numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spa.probes.audio import audio
from spa.probes.leaves import leaves
from spa.probes.noise import gaussian, uniform, vectors
from spa.probes.probe import Lengths
from spa.probes.tokens import KNOWN, tokens, vocabulary


@pytest.fixture(scope="module")
def small():
    return leaves(range(192), (3, 32, 32))


def kurtosis(images):
    """Of the differences of neighbours: 3 for Gaussian noise, far more where there are edges."""
    steps = np.diff(images.mean(1), axis=-1).ravel()
    return (steps**4).mean() / (steps**2).mean() ** 2


def slope(images):
    """The exponent of the amplitude spectrum between the lowest and half the highest frequency."""
    grey = images.mean(1) - images.mean((1, 2, 3))[:, None, None]
    side = grey.shape[1]
    window = np.hanning(side)
    power = (np.abs(np.fft.fft2(grey * window[:, None] * window)) ** 2).mean(0)
    rate = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    kept = (rate > 2 / side) & (rate < 0.35)
    return np.polyfit(np.log(rate[kept]), np.log(power[kept]) / 2, 1)[0]


def test_leaves_have_the_brightness_and_contrast_of_photographs(small):
    assert small.dtype == np.float32
    assert small.min() >= 0 and small.max() <= 1
    assert small.mean((0, 2, 3)) == pytest.approx([0.46] * 3, abs=0.04)
    assert small.std((0, 2, 3)) == pytest.approx([0.245] * 3, abs=0.04)  # CIFAR-10: 0.25
    between = small.mean((1, 2, 3)).std()
    assert 0.05 < between < 0.16


def test_leaves_are_coloured_but_mildly(small):
    chroma = (small - small.mean(1, keepdims=True)).std()
    assert 0.05 < chroma < 0.12  # CIFAR-10: 0.077


@pytest.mark.parametrize("side", (32, 96))
def test_leaves_fall_off_as_photographs_do_and_have_edges(side):
    images = leaves(range(64), (3, side, side))
    assert -1.8 < slope(images) < -0.9  # CIFAR-10: -1.5, noise: 0
    assert kurtosis(images) > 6  # CIFAR-10: 9, Gaussian noise: 3


def test_noise_has_no_edges_and_no_slope():
    images = gaussian(range(64), (3, 32, 32))
    assert abs(slope(images)) < 0.1
    assert kurtosis(images) == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize(
    "shape", ((1, 8, 8), (3, 28, 20), (4, 31, 47), (3, 64, 96), (7, 80, 80), (1, 101, 40))
)
def test_leaves_of_any_size(shape):
    images = leaves([0, 1], shape)
    assert images.shape == (2, *shape)
    assert np.isfinite(images).all()
    assert (images.std((2, 3)) > 0.02).all()


def test_both_ways_of_painting_paint_the_same(monkeypatch):
    import spa.probes.leaves as module

    whole = leaves([2, 5], (3, 40, 48))
    monkeypatch.setattr(module, "WINDOWED", 0)
    assert np.abs(leaves([2, 5], (3, 40, 48)) - whole).max() < 1e-5


@pytest.mark.parametrize(
    "make",
    (
        lambda rows, **k: leaves(rows, (3, 16, 16), **k),
        lambda rows, **k: uniform(rows, (3, 4), **k),
        lambda rows, **k: gaussian(rows, (3, 4), **k),
        lambda rows, **k: vectors(rows, (5,), **k),
        lambda rows, **k: audio(rows, (2, 300), **k),
        lambda rows, **k: tokens(rows, (12,), vocabulary(30522), **k),
    ),
)
def test_a_row_depends_on_seed_name_and_number_alone(make):
    every = make(range(6), seed=3, name="a")
    assert np.array_equal(make([4, 1], seed=3, name="a"), every[[4, 1]])
    assert not np.array_equal(make(range(6), seed=4, name="a"), every)
    assert not np.array_equal(make(range(6), seed=3, name="b"), every)
    assert len({row.tobytes() for row in every}) == 6
    assert len(make([], seed=3)) == 0


def test_uniform_fills_its_range():
    found = uniform(range(8), (3, 32, 32))
    assert 0 <= found.min() < 0.01 and 0.99 < found.max() <= 1
    assert found.mean() == pytest.approx(0.5, abs=0.01)


def test_leaves_are_as_colourful_and_bright_as_photographs():
    found = leaves(range(200), (3, 32, 32))
    grey = found.mean(1, keepdims=True)
    tint = (found - grey).mean((2, 3), keepdims=True)
    assert 0.04 < (found - grey - tint).std() < 0.06
    assert 0.045 < tint.std() < 0.07
    assert 0.10 < grey.mean((1, 2, 3)).std() < 0.15


def test_vectors_are_standard_normal():
    found = vectors(range(500), (40,))
    assert found.mean() == pytest.approx(0, abs=0.03)
    assert found.std() == pytest.approx(1, abs=0.03)


def test_audio_is_as_loud_as_speech_and_falls_off():
    found = audio(range(48), (1, 4096))
    assert np.abs(found).max() <= 1
    assert 0.05 < np.median(np.sqrt((found**2).mean(-1))) < 0.2
    power = (np.abs(np.fft.rfft(found[:, 0])) ** 2).mean(0)
    assert power[1:100].mean() > 20 * power[1000:].mean()


@pytest.mark.parametrize("length", (1, 2, 7))
def test_audio_of_hardly_any_length(length):
    assert np.isfinite(audio([0, 1], (2, length))).all()


@pytest.mark.parametrize("size", sorted(KNOWN))
def test_known_vocabularies_hold_together(size):
    words = vocabulary(size)
    assert words.ordinary.min() >= 0 and words.ordinary.max() < size
    assert np.isin(words.common, words.ordinary).all()
    assert not np.isin([*words.first, *words.last], words.ordinary).any()
    assert all(0 <= mark < size for mark in (*words.first, *words.last))


def test_sequences_stand_between_their_marks():
    found = tokens(range(50), (12,), vocabulary(30522))
    assert (found[:, 0] == 101).all() and (found[:, -1] == 102).all()
    inner = found[:, 1:-1]
    assert inner.min() >= 1996 and inner.max() <= 29612
    assert 0.15 < (inner < 1996 + 150).mean() < 0.35
    assert np.median(inner[inner >= 1996 + 150]) < 1996 + 4000  # rare ids are rare
    assert tokens([0], (2,), vocabulary(30522)).shape == (1, 2)  # too short for marks


def test_unknown_vocabularies_use_every_trained_id():
    table = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    table[40:60] = 0
    table[70] *= 1e4
    drawn = np.unique(tokens(range(300), (64,), vocabulary(500, table)))
    assert drawn.min() == 1 and drawn.max() == 499
    assert len(drawn) == 499 - 21
    assert not np.isin(drawn, [*range(40, 60), 70]).any()
    assert set(np.unique(tokens(range(30), (9,), vocabulary(2)))) == {0, 1}


def test_bytes_are_text():
    text = bytes(tokens([0], (200,), vocabulary(257))[0].tolist()).decode("ascii")
    assert text.isprintable() or "\n" in text
    assert text.count(" ") > 10


def test_lengths_are_log_normal_around_fifteen():
    lengths = np.array([Lengths(0, 96).of(row) for row in range(400)])
    assert np.median(lengths) == pytest.approx(15, abs=1.5)
    assert lengths.min() >= 4 and lengths.max() <= 96
    assert np.log(lengths).std() == pytest.approx(0.55, abs=0.1)


def test_leaves_are_fast():
    start = time.process_time()
    leaves(range(64), (3, 32, 32))
    leaves(range(4), (3, 224, 224))
    assert time.process_time() - start < 4  # 0.2 s on one core of 2026
