"""The recipe checks itself, for the shell and the Python API alike."""

from __future__ import annotations

import dataclasses

import pytest

from spa.errors import UsageError
from spa.recipe import Recipe


def test_the_defaults_are_valid_and_frozen():
    recipe = Recipe()
    assert recipe.validate() is recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.ratio = 0.1


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 0.001},
        {"ratio": 0.999, "max_layer_ratio": 1.0},
        {"of": "channels", "ratio": 0.9},
        {"round_to": "auto"},
        {"layer_ratio": {"*": 0.0}},
        {"max_drift": 0.0, "min_reduction": 0.0},
        {"verify": "none", "min_reduction": 0.4},
        {"input_shape": {"x": [1, 3], "scalar": []}},
    ],
)
def test_what_is_allowed(changes):
    Recipe(**changes).validate()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratio": 0}, "spa inspect"),
        ({"ratio": 1}, "0.5 removes half"),
        ({"ratio": 30}, "write 0.3 to remove 30 %"),
        ({"ratio": float("nan")}, "--ratio must lie strictly"),
        ({"max_layer_ratio": 0}, "--max-layer-ratio must lie in"),
        ({"of": "channels", "ratio": 0.95}, "raise --max-layer-ratio"),
        ({"layer_ratio": {"a*": 1.0}}, "--layer-ratio a*=1"),
        ({"of": "mac"}, "did you mean macs?"),
        ({"aggregate": "median"}, "--aggregate 'median' is unknown"),
        ({"device": "metal"}, "choose from auto, cpu, cuda"),
        ({"round_to": 0}, "--round-to"),
        ({"round_to": 2.5}, "--round-to"),
        ({"round_to": True}, "--round-to"),
        ({"min_channels": 0}, "--min-channels"),
        ({"seed": -1}, "--seed"),
        ({"ignore": "head*"}, "not one string"),
        ({"input_shape": {"x": [1, -1]}}, "--input-shape x:1,-1"),
        ({"min_reduction": 40}, "0.4 demands that 40 %"),
        ({"max_drift": float("nan")}, "--max-drift"),
        ({"min_speedup": 0}, "--min-speedup"),
        ({"verify": "none", "min_speedup": 1.2}, "use --verify run"),
    ],
)
def test_what_is_not_and_what_to_write_instead(changes, words):
    with pytest.raises(UsageError) as caught:
        Recipe(**changes).validate()
    assert words in str(caught.value) and not str(caught.value).endswith(".")
