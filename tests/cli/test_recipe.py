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
        {"input_range": (-1, 1), "mean": (0.5,), "std": [0.1, 0.2, 0.3]},
        {"steps": 100, "memory": 1 << 20, "sequential": False},
        {"reconstruct": False, "repair": "none"},
        {"reconstruct": True, "repair": "bias"},
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
        ({"max_layer_ratio": 0}, "--set max-layer-ratio must lie in (0, 1], not 0; 1 leaves only"),
        ({"of": "channels", "ratio": 0.95}, "raise --set max-layer-ratio"),
        (
            {"layer_ratio": {"a*": 1.0}},
            "--set layer-ratio of 'a*' must be a share in",
        ),
        ({"of": "mac"}, "did you mean macs?"),
        ({"aggregate": "median"}, "--set aggregate 'median' is unknown"),
        ({"device": "metal"}, "choose from auto, cpu, cuda"),
        ({"round_to": 0}, "--round-to"),
        ({"round_to": 2.5}, "--round-to"),
        ({"round_to": True}, "--round-to"),
        ({"min_channels": 0}, "--set min-channels"),
        ({"seed": -1}, "--set seed"),
        ({"ignore": "head*"}, "must be a sequence of globs, not 'head*'; write ['head*']"),
        ({"input_shape": {"x": [1, -1]}}, "--input-shape of 'x' must be whole sizes of at least 1"),
        ({"min_reduction": 40}, "0.4 demands that 40 %"),
        ({"max_drift": float("nan")}, "--max-drift"),
        ({"min_speedup": 0}, "--min-speedup"),
        ({"verify": "none", "min_speedup": 1.2}, "use --set verify=run"),
        ({"allocation": "curve"}, "did you mean curves?"),
        ({"repair": "all"}, "--set repair 'all' is unknown"),
        ({"probe": "leafs"}, "did you mean leaves?"),
        ({"steps": 2, "saliency": "s.npz"}, "leave one of them out"),
        ({"steps": 0}, "--set steps must be a whole number from 1 to 100, not 0"),
        ({"steps": 101}, "--set steps"),
        ({"steps": 1.0}, "--set steps"),
        ({"memory": 4}, "4G is four GiB"),
        ({"memory": 1e9}, "--memory"),
        ({"reconstruct": False, "repair": "full"}, "--set reconstruct=false and --set repair=full"),
        ({"reconstruct": True, "repair": "none"}, "--set reconstruct=true and --set repair=none"),
        ({"input_range": (1, 0)}, "the lower one first, as in 0,255; not 1,0"),
        ({"input_range": (0, 1, 2)}, "--set input-range must be two numbers"),
        ({"mean": 0.5}, "--set mean must be finite numbers, one or several, not 0.5"),
        ({"mean": ()}, "one or several, not none"),
        ({"mean": (0.5, float("nan"))}, "must be finite numbers, one or several, not 0.5,nan"),
        ({"mean": ("a",)}, "must be finite numbers, one or several, not 'a'"),
        ({"std": (1, 0)}, "--set std divides, so it must be above 0, not 1,0"),
    ],
)
def test_what_is_not_and_what_to_write_instead(changes, words):
    with pytest.raises(UsageError) as caught:
        Recipe(**changes).validate()
    assert words in str(caught.value) and not str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({"scorer": "obspa"}, "full"),
        ({"scorer": "l2"}, "none"),
        ({"scorer": "auto"}, "full"),
        ({"scorer": "obspa", "saliency": "s.npz"}, "none"),
        ({"scorer": "obspa", "reconstruct": False}, "none"),
        ({"scorer": "obspa", "repair": "none"}, "none"),
        ({"scorer": "obspa", "repair": "bias"}, "bias"),
        ({"scorer": "l2", "reconstruct": True}, "full"),
        ({"scorer": "l2", "repair": "mix"}, "mix"),
        ({"saliency": "s.npz", "reconstruct": True, "repair": "bias"}, "bias"),
    ],
)
def test_what_is_refitted(changes, mode):
    recipe = Recipe(**changes).validate()
    assert (recipe.mode, recipe.repairs) == (mode, mode != "none")
