from __future__ import annotations

import pytest

from spa.reports import wording


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"),
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (999_999, "1.00 M"),
        (25_557_032, "25.56 M"),
        (4_089_184_256, "4.09 G"),
        (float("nan"), "–"),
    ],
)
def test_count(number, words):
    assert wording.count(number) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 B"), (999, "999 B"), (102_400_000, "102.40 MB"), (None, "–")]
)
def test_size(number, words):
    assert wording.size(number) == words


@pytest.mark.parametrize(
    ("removed", "words"), [(0.5, "-50.0%"), (0, "same"), (-0.25, "+25.0%"), (None, "–")]
)
def test_a_removed_share_is_a_negative_change(removed, words):
    assert wording.change(removed) == words


@pytest.mark.parametrize(
    ("speed", "words"),
    [(2.0, "2.00x faster"), (0.5, "2.00x slower"), (1.001, "same"), (0, "–"), (None, "–")],
)
def test_factor(speed, words):
    assert wording.factor(speed) == words


def test_a_factor_that_may_be_one_is_called_so():
    assert wording.factor(1.02, 0.97, 1.06) == "0.97x to 1.06x"
    assert wording.factor(1.06, 1.03, 1.09) == "1.06x faster"
    assert wording.factor(1.02, None, None) == "1.02x faster"


@pytest.mark.parametrize(
    ("took", "words"),
    [(0.05, "50 ms"), (3.94, "3.9 s"), (119.6, "2 min 00 s"), (61.0, "61.0 s"), (None, "–")],
)
def test_seconds(took, words):
    assert wording.seconds(took) == words


def test_a_difference_that_is_not_finite_is_shown_not_hidden():
    assert wording.measure(float("inf")) == "inf"
    assert wording.measure(float("nan")) == "nan"


def test_names_become_one_printable_line():
    assert wording.printable("a\n b\x1b[31m\x00c") == "a b?[31m?c"
    assert wording.printable("a" + "\n" * 5000 + "b") == "a b"
    assert len(wording.printable("x" * 5000)) == wording.LONGEST
    assert wording.line("x" * 5000) == "x" * 5000


def test_shorten_keeps_both_ends():
    assert wording.shorten("encoder.layer.11.attention.weight", 15) == "encoder….weight"
    assert wording.shorten("short", 15) == "short"


def test_shape_shows_symbols_and_unknown_sizes():
    assert wording.shape(["N", 3, None]) == "[N, 3, ?]"
