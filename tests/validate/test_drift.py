"""Distances between outputs, against arithmetic done by hand."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from spa.validate.drift import drift, relative_error

NAN, INF = np.nan, np.inf


def row(*values, dtype=np.float32):
    return np.array([values], dtype)


def test_by_hand():
    found = drift({"y": row(3, 4, 0)}, {"y": row(3, 4, 5)})
    assert found.relative == {"y": pytest.approx(1.0)}  # |5| over |(3, 4)|
    assert found.cosine == {"y": pytest.approx(25 / (5 * math.sqrt(50)))}
    assert found.max_abs == 5 and found.top1 == 0.0


def test_several_outputs():
    before = {"a": np.array([3.0, 4.0]), "b": np.array([1.0, 0.0])}
    after = {"a": np.array([3.0, 4.5]), "b": np.array([0.0, 1.0])}
    found = drift(before, after)
    assert found.relative == {"a": pytest.approx(0.1), "b": pytest.approx(math.sqrt(2))}
    assert found.cosine["b"] == 0 and found.max_abs == 1 and found.top1 is None


def test_equal_outputs_do_not_drift():
    values = {"y": np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)}
    found = drift(values, values)
    assert found.relative["y"] == 0 and found.max_abs == 0 and found.top1 == 1
    assert found.cosine["y"] == pytest.approx(1)


@pytest.mark.parametrize(("b", "relative", "cosine"), [([0, 0, 0], 0, 1), ([0, 1, 0], 1, 0)])
def test_zeros(b, relative, cosine):
    found = drift({"y": row(0, 0, 0)}, {"y": row(*b)})
    assert (found.relative["y"], found.cosine["y"]) == (relative, cosine)


def test_top1_is_the_share_of_rows():
    before = {"y": np.eye(4, dtype=np.float32)}
    after = {"y": np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]}
    assert drift(before, after).top1 == 0.5


@pytest.mark.parametrize("shape", [(4, 2), (2, 4, 10), (10,), (0, 10)])
def test_top1_only_where_rows_hold_scores_of_classes(shape):
    values = {"y": np.ones(shape, np.float32)}
    assert drift(values, values).top1 is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_kind_of_float(dtype):
    found = drift({"y": row(3, 4, 0, dtype=dtype)}, {"y": row(3, 4, 5, dtype=dtype)})
    assert found.relative == {"y": pytest.approx(1.0)}


def test_what_is_no_float_tensor_does_not_drift():
    before = {"ids": np.arange(3), "text": np.array(["a"]), "list": [row(1)], "gone": row(1, 2)}
    found = drift(before, {**before, "gone": row(1, 2, 3)})
    assert not found.relative and found.max_abs is None


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_what_is_not_finite_in_both_counts_nothing(special):
    found = drift({"y": row(special, 3, 4)}, {"y": row(special, 3, 4.5)})
    assert found.relative["y"] == pytest.approx(0.1) and found.max_abs == 0.5
    assert found.cosine["y"] == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 2), (NAN, 2)),
        ((NAN, 2), (1, 2)),
        ((INF, 2), (-INF, 2)),
        ((1, 2), (NAN, NAN)),
        ((INF, 1), (NAN, 1)),
    ],
)
def test_what_is_not_finite_in_one_is_no_small_drift(a, b):
    """A model that answers nan must not pass a gate."""
    found = drift({"y": row(*a)}, {"y": row(*b)})
    assert found.relative["y"] == INF and found.cosine["y"] == 0 and found.max_abs == INF
    assert relative_error({"y": row(*a)}, {"y": row(*b)}) == INF


# relative_error


def test_error_is_over_the_largest_entry():
    assert relative_error({"y": row(-10, 1, 0)}, {"y": row(-10, 1, 0.5)}) == pytest.approx(0.05)
    want = {"a": row(1, 2), "b": row(100, 2)}
    got = {"a": row(1, 2.2), "b": row(110, 2)}
    assert relative_error(want, got) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("want", "got", "error"),
    [
        (row(1, 2), row(1, 2, 3), INF),
        (row(1, 2), None, INF),
        (row(1, 2), np.array([[1, 2]]), INF),
        (np.array([1, 2]), np.array([1, 2]), 0),
        (np.array([1, 2]), np.array([1, 3]), 1),
        (np.array([1, 2]), None, 1),
        (np.array(["a"]), np.array(["a"]), 0),
        (np.array(["a"]), np.array(["b"]), 1),
        (row(NAN, INF, 1), row(NAN, INF, 1), 0),
        (row(), row(), 0),
    ],
)
def test_error_of(want, got, error):
    assert relative_error({"y": want}, {} if got is None else {"y": got}) == error


@pytest.mark.parametrize(
    ("want", "got", "error"),
    [
        ([row(1), row(2, 4)], [row(1), row(2, 5)], 0.25),
        ([row(1), row(2, 4)], [row(1)], INF),
        ([row(1)], row(1), INF),
        ([{"a": 0.5, "b": 0.25}], [{"a": 0.5, "b": 0.2500001}], 4e-7),
        ([{"a": 0.5}], [{"b": 0.5}], INF),
        ([{1: "x"}], [{1: "x"}], 0),
        ([{1: "x"}], [{1: "y"}], 1),
        ([], [], 0),
    ],
)
def test_sequences_and_maps_entry_by_entry(want, got, error):
    assert relative_error({"y": want}, {"y": got}) == pytest.approx(error, rel=1e-3)


def test_nothing_to_compare():
    assert relative_error({}, {}) == 0
