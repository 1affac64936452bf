"""Distances between outputs, against arithmetic done by hand."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from spa.validate.drift import drift, total
from spa.validate.gap import gap

NAN, INF = np.nan, np.inf


def row(*values, dtype=np.float32):
    return np.array([values], dtype)


def test_by_hand():
    before = {"y": np.array([[1.0, 10, 5], [3.0, 10, 9]])}
    after = {"y": np.array([[1.0, 10, 5], [3.0, 10, 9.5]])}
    found = drift(before, after)
    assert found.relative == {"y": pytest.approx(math.sqrt(0.125 / 10))}  # 0.5²/2 over 2 + 8
    assert found.plain == {"y": pytest.approx(0.5 / math.sqrt(316))}
    assert found.max_abs == 0.5 and found.unverified == {}


def test_one_row_varies_from_place_to_place():
    found = drift({"y": row(3, 4, 0)}, {"y": row(3, 4, 5)})
    assert found.relative == {"y": pytest.approx(math.sqrt(25 / 3 / (13 / 3)))}
    assert found.plain == {"y": pytest.approx(1.0)}
    assert found.cosine == {"y": pytest.approx(25 / (5 * math.sqrt(50)))}
    assert found.max_abs == 5 and found.top1 == 0.0


def test_several_outputs():
    before = {"a": np.array([3.0, 4.0]), "b": np.array([1.0, 0.0])}
    after = {"a": np.array([3.0, 4.5]), "b": np.array([0.0, 1.0])}
    found = drift(before, after)
    assert found.relative == {"a": pytest.approx(0.5), "b": pytest.approx(math.sqrt(2))}
    assert found.plain == {"a": pytest.approx(0.1), "b": pytest.approx(math.sqrt(2))}
    assert found.cosine["b"] == 0 and found.max_abs == 1 and found.top1 is None


def test_equal_outputs_do_not_drift():
    values = {"y": np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)}
    found = drift(values, values)
    assert found.relative["y"] == 0 and found.max_abs == 0 and found.top1 == 1
    assert found.cosine["y"] == pytest.approx(1)


RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((64, 10))


@pytest.mark.parametrize("level", [1.0, 100.0, 1e4])
def test_what_is_the_same_in_every_row_hides_nothing(level):
    offset = level * RNG.standard_normal(10)
    found = drift({"y": NOISE + offset}, {"y": 1.5 * NOISE + offset})
    assert found.relative["y"] == pytest.approx(0.5, rel=0.05)
    assert found.plain["y"] < 0.5 / max(1, level / 10)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("boxes", [1, 4])
def test_boxes_in_pixels_do_not_hide_scores(axis, boxes):
    box = 300 + 200 * RNG.standard_normal((8, 50, boxes))
    score = 0.01 * RNG.standard_normal((8, 50, 2))

    def joined(score):
        return {"y": np.moveaxis(np.concatenate([box, score], 2), 2, axis)}

    found = drift(joined(score), joined(2 * score))
    assert found.plain["y"] < 1e-3
    assert found.relative["y"] == pytest.approx(math.sqrt(2 / (2 + boxes)), rel=0.1)


def test_a_share_that_is_next_to_nothing_is_no_unit_of_its_own():
    logits = np.stack([NOISE[:, 0], NOISE[:, 1], NOISE[:, 2] - 8], 1)

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(1, keepdims=True)

    moved = logits + np.array([0, 0, 2])
    assert drift({"y": softmax(logits)}, {"y": softmax(moved)}).relative["y"] < 0.02
    assert drift({"y": 2 * softmax(logits)}, {"y": 2 * softmax(moved)}).relative["y"] > 0.5


def test_a_column_that_hardly_ever_fires_does_not_count_for_all():
    rare = np.zeros((64, 1))
    rare[7] = 1e-3
    before = {"y": np.concatenate([NOISE, rare], 1)}
    found = drift(before, {"y": np.concatenate([NOISE, 100 * rare], 1)})
    assert 0 < found.relative["y"] <= 2 / math.sqrt(11)
    dead = {"y": np.concatenate([NOISE, 0 * rare], 1)}
    found = drift(dead, before)
    assert found.relative["y"] < 1e-3


def test_runs_count_as_one_run():
    whole = total([({"y": NOISE}, {"y": NOISE * 1.1})])
    parts = total(
        [({"y": NOISE[k : k + 7]}, {"y": 1.1 * NOISE[k : k + 7]}) for k in range(0, 64, 7)]
    )
    assert parts.relative["y"] == pytest.approx(whole.relative["y"])
    lengths = [RNG.standard_normal((2, n, 4)) for n in (3, 5, 3)]
    found = total([({"y": x}, {"y": 2 * x}) for x in lengths])
    assert found.relative["y"] == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((4, 3)), np.zeros((4, 3))),
        (np.zeros((4, 3)), np.ones((4, 3))),
        (np.full((4, 3), 7.5), np.full((4, 3), 7.5)),
        (np.tile(row(1, 2, 3), (4, 1)), np.tile(row(1, 2, 3.5), (4, 1))),
        (
            np.tile(row(1, 2, 3), (4, 1)) * [[1], [1], [1], [1 + 1e-7]],
            np.tile(row(1, 2, 3), (4, 1)),
        ),
        (np.ones((4, 3)) * NAN, np.ones((4, 3)) * NAN),
        (np.ones((4, 0)), np.ones((4, 0))),
    ],
)
def test_of_what_never_varies_nothing_is_known(a, b):
    found = drift({"y": a.astype(np.float32)}, {"y": b.astype(np.float32)})
    assert found.relative == {"y": None} and list(found.unverified) == ["y"]
    assert found.top1 in (None, 0.0)


def test_the_same_in_every_run_is_the_same_in_every_row():
    runs = [({"y": row(1, 2, 3)}, {"y": row(1, 2, 3)}) for _ in range(3)]
    assert total(runs).unverified == {"y": "it does not vary over the rows"}


def test_top1_is_the_share_of_rows():
    before = {"y": np.eye(4, dtype=np.float32)}
    after = {"y": np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]}
    assert drift(before, after).top1 == 0.5
    assert drift({**before, "z": before["y"]}, {**before, "z": after["y"]}).top1 == 0.5


def test_one_class_in_every_row_is_no_agreement():
    before = {"y": NOISE + 100 * np.eye(10)[3]}
    assert drift(before, before).top1 is None
    assert drift(before, {"y": before["y"][:, ::-1]}).top1 == 0


@pytest.mark.parametrize("shape", [(4, 2), (2, 4, 10), (10,), (0, 10)])
def test_top1_only_where_rows_hold_scores_of_classes(shape):
    values = {"y": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}
    assert drift(values, values).top1 is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_kind_of_float(dtype):
    found = drift({"y": row(3, 4, 0, dtype=dtype)}, {"y": row(3, 4, 5, dtype=dtype)})
    assert found.plain == {"y": pytest.approx(1.0)} and found.relative["y"] > 1


# labels

WORDS = np.array(["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 0], 0.75),
        ([True, False, True, True], [True, True, True, True], 0.75),
        (WORDS, WORDS[[0, 1, 1, 3]], 0.75),
        (WORDS.astype(object), WORDS, 1.0),
        ([3, 3, 3, 3], [3, 3, 3, 3], None),
        ([3, 3, 3, 3], [3, 3, 1, 1], 0.5),
        ([[1, 1], [2, 3]], [[1, 1], [3, 2]], 0.5),
        ([[1, 2], [2, 3]], [[2, 1], [3, 4]], 0.75),
        ([[1, 2], [2, 3]], [[1, 2, 4], [2, 3, 5]], 2 / 3),
        ([[1, 1], [2, 3]], [[1, 1, 2], [2, 3, 4]], 0.0),
    ],
)
def test_labels(a, b, share):
    found = drift({"y": np.array(a)}, {"y": np.array(b)})
    assert found.agreement == {"y": share if share is None else pytest.approx(share)}
    assert ("y" in found.unverified) == (share is None) and not found.relative


def test_integers_that_are_amounts_drift():
    pixels = np.array([[10, 200], [50, 100]], np.uint8)
    found = total([({"y": pixels}, {"y": pixels + np.uint8(1)})], numbers=("y",))
    assert 0 < found.relative["y"] < 0.1 and not found.agreement


def test_of_what_cannot_be_compared_nothing_is_known():
    before = {"list": [row(1)], "other": row(1, 2), "gone": row(1, 2)}
    found = drift(before, {"list": [row(1)], "other": row(1, 2, 3)})
    assert found.relative == {"list": None, "other": None, "gone": None}
    assert found.unverified.keys() == before.keys() and found.max_abs is None


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_what_is_not_finite_in_both_counts_nothing(special):
    found = drift({"y": row(special, 3, 4)}, {"y": row(special, 3, 4.5)})
    assert found.plain["y"] == pytest.approx(0.1) and found.max_abs == 0.5
    assert found.relative["y"] == pytest.approx(0.5)
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
    assert gap({"y": row(*a)}, {"y": row(*b)}).error == INF


# the gap that a proof measures


def test_error_is_over_the_largest_entry():
    assert gap({"y": row(-10, 1, 0)}, {"y": row(-10, 1, 0.5)}).error == pytest.approx(0.05)
    want = {"a": row(1, 2), "b": row(100, 2)}
    got = {"a": row(1, 2.2), "b": row(110, 2)}
    assert gap(want, got).error == pytest.approx(0.1)


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
    assert gap({"y": want}, {} if got is None else {"y": got}).error == error


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
    assert gap({"y": want}, {"y": got}).error == pytest.approx(error, rel=1e-3)


def test_nothing_to_compare():
    assert gap({}, {}).error == 0
