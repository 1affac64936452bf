"""What the outputs say of a model: the worst of them counts, and what says nothing is no praise."""

from __future__ import annotations

import numpy as np
import pytest

from spa.graph import read
from spa.validate.drift import drift, total
from spa.validate.inputs import Inputs
from spa.validate.quality import quality
from tests.graph.small import model

RNG = np.random.default_rng(0)
NET = read(model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }"))
NOISE = RNG.standard_normal((64, 10))


def judged(before, after, kind="calib", held_back=True):
    return quality(NET, drift(before, after), Inputs([], kind, 64, held_back))


@pytest.mark.parametrize(
    ("moved", "level"),
    [(0.0, "good"), (0.29, "good"), (0.4, "risky"), (0.9, "risky"), (1.2, "broken")],
)
def test_a_drift_has_a_level(moved, level):
    shape = (64, 2, 5)
    old = RNG.standard_normal(shape)
    new = old + moved * RNG.standard_normal(shape)
    assert judged({"y": old}, {"y": new}).level == level


def test_the_worst_output_decides_and_is_named():
    old = {name: RNG.standard_normal((64, 2, 5)) for name in "abcdefgh"}
    found = judged(old, {**old, "g": RNG.standard_normal((64, 2, 5))})
    assert (found.level, found.output) == ("broken", "g") and found.outputs["a"] == "good"


def test_an_output_that_says_nothing_is_no_praise_for_the_others():
    old = {"a": RNG.standard_normal((64, 2, 5)), "still": np.ones((64, 2, 5))}
    found = judged(old, old)
    assert (found.level, found.output) == ("unknown", "still")
    assert judged(old, {**old, "a": 2 * old["a"]}).output == "a"


def test_noise_and_inputs_that_were_fitted_on_prove_nothing():
    same = {"y": RNG.standard_normal((64, 2, 5))}
    assert judged(same, same, "gaussian").level == "unknown"
    assert judged(same, same, held_back=False).level == "unknown"
    assert judged(same, {"y": -same["y"]}, held_back=False).level == "broken"


def test_what_a_sure_answer_costs_is_what_its_probability_says():
    """Two of 64 rows lose a sure class, two swap near equals."""
    old = np.full((64, 3), [0.98, 0.01, 0.01])
    old[32:] = old[32:, [1, 0, 2]]
    new = old.copy()
    new[:2] = new[:2, [1, 0, 2]]
    old[2:4], new[2:4] = [0.50, 0.48, 0.02], [0.48, 0.50, 0.02]
    found = judged({"y": old}, {"y": new})
    assert found.lost.share == 60 / 64
    assert found.lost.lost == pytest.approx((2 * 0.97 + 2 * 0.02) / 64)
    assert found.level == "risky" and "3.1 points of top-1" in found.why


def test_no_loss_in_a_few_rows_is_not_known_without_error():
    old = np.eye(4)[RNG.integers(4, size=50)]
    lost = drift({"y": old}, {"y": old}).classes["y"]
    assert lost.lost == 0 and lost.error == pytest.approx(1 / 50)


def test_of_made_up_inputs_no_loss_is_told():
    logits = 5 * NOISE
    assert judged({"y": logits}, {"y": logits}, "leaves").lost is None
    assert judged({"y": logits}, {"y": logits}).lost.lost == 0


def test_an_embedding_is_no_classifier():
    old = NOISE / np.linalg.norm(NOISE, axis=1, keepdims=True)
    assert drift({"y": old}, {"y": old}).classes["y"].lost is None


def test_one_class_in_nearly_all_rows_is_no_agreement():
    """A mask that is background nearly everywhere, and then everywhere."""
    old = np.zeros((64, 32, 32), np.int64)
    old[:, :6, :8] = 1
    found = judged({"y": old}, {"y": np.zeros_like(old)})
    assert drift({"y": old}, {"y": 0 * old}).agreement["y"] > 0.95 and found.level == "broken"
    few = np.array([0] * 63 + [1])
    assert judged({"y": few}, {"y": few}).level == "unknown"


def test_probabilities_along_the_last_axis_are_classes_of_any_rank():
    scores = np.exp(3 * RNG.standard_normal((4, 16, 7)))
    scores /= scores.sum(-1, keepdims=True)
    runs = [({"y": scores}, {"y": scores[..., ::-1]}), ({"y": scores}, {"y": scores})]
    kept = total(runs).classes["y"]
    middle = (scores.argmax(-1) == 3).mean()
    assert kept.share == pytest.approx((1 + middle) / 2)
