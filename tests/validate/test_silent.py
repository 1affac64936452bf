"""Outputs that say nothing on the inputs at hand are told apart from those that drift."""

from __future__ import annotations

import numpy as np
import pytest

from spa import pipeline
from spa.graph import read
from spa.recipe import Recipe
from spa.validate.drift import drift
from spa.validate.silent import silent
from tests.graph.small import model


def net(last, level):
    """Two layers, and what `last` makes of their sum with `level`."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((6, 16)).astype(np.float32),
        "v": 0.4 * rng.standard_normal((16, 4)).astype(np.float32),
        "b": np.full(4, level, np.float32),
        "shape": np.array([-1, 2, 2]),
    }
    body = "h = MatMul(x, w) r = Relu(h) m = MatMul(r, v) s = Add(m, b)"
    return model(f"g (float[N,6] x) => (y) {{ {body} {last} }}", weights)


SIGMOID = "y = Sigmoid(s)"
SIZES = {"y": np.full((1, 4), 1e-4, np.float32)}
MOVED = {"y": np.full((1, 4), 1e-3, np.float32)}


@pytest.mark.parametrize(
    ("last", "faint"),
    [
        (SIGMOID, True),
        ("p = Sigmoid(s) q = Reshape(p, shape) y = Transpose(q)", True),
        ("y = HardSigmoid(s)", True),
        ("y = Softmax(s)", False),
        ("p = Sigmoid(s) y = Mul(p, b)", False),
        ("y = Identity(s)", False),
    ],
)
def test_only_what_lies_between_0_and_1_can_be_faint(last, faint):
    graph = read(net(last, 0.0))
    found = silent(graph, drift(SIZES, MOVED))
    assert found == ({"y": pytest.approx(1e-4)} if faint else {})


def test_what_answers_is_not_faint():
    graph = read(net(SIGMOID, 0.0))
    loud = {"y": np.full((1, 4), 0.3, np.float32)}
    assert silent(graph, drift(loud, MOVED)) == {}


@pytest.mark.parametrize(("level", "verdict"), [(-16.0, "unknown"), (0.0, "risky")])
def test_the_verdict_is_about_what_is_known(level, verdict):
    recipe = Recipe(scorer="random", ratio=0.6, of="channels", round_to=1, seed=1)
    quality = pipeline.prune(net(SIGMOID, level), recipe).report["verdicts"]["quality"]
    assert quality["verdict"] == verdict
    assert ("next to nothing" in quality["why"]) == (verdict == "unknown")
