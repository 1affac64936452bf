"""What of a recipe cannot be meant together, each refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spa.errors import UsageError

Spelt = Callable[[str], str]
"""How the shell spells a field."""

Asked = Any
"""A `spa.recipe.Recipe`, which imports this module."""


def check_together(recipe: Asked, option: Spelt) -> None:
    """Refuse what cannot be meant together."""
    if recipe.of == "channels" and recipe.share > recipe.max_layer_ratio:
        most = option("max_layer_ratio")
        raise UsageError(
            f"--ratio {recipe.share:g} of the channels is more than {most} "
            f"{recipe.max_layer_ratio:g} lets any layer lose; raise {most}"
        )
    if recipe.steps > 1 and recipe.saliency is not None:
        raise UsageError(
            f"{option('steps')} scores again after every round, which --saliency, one file for the "
            "whole model, cannot; leave one of them out"
        )
    if recipe.width == "off" and recipe.depth == "off":
        raise UsageError(
            "--set width=off and --depth off leave nothing to remove; allow one of them"
        )
    asked = None if recipe.repair == "auto" else recipe.repair != "none"
    if recipe.reconstruct is not None and asked is not None and recipe.reconstruct != asked:
        word = str(recipe.reconstruct).lower()
        raise UsageError(
            f"{option('reconstruct')}={word} and {option('repair')}={recipe.repair} contradict "
            "each other; give one of them"
        )
    span = recipe.input_range
    if span is not None and span[0] >= span[1]:
        raise UsageError(
            f"{option('input_range')} needs two numbers, the lower one first, as in 0,255; not "
            f"{span[0]:g},{span[1]:g}"
        )


def check_gates(recipe: Asked, asked: Sequence[str], option: Spelt) -> None:
    """Refuse gates, of those that are `asked` for, that nothing could be held to."""
    for name in ("max_drift", "min_agreement", "min_quality", "min_speedup", "require_proof"):
        if recipe.verify == "none" and name in asked:
            raise UsageError(
                f"{option(name)} must run the models and {option('verify')}=none forbids it; use "
                f"{option('verify')}=run"
            )
    if recipe.check is not None:
        from spa.check import validate

        validate(recipe.check)
    for name in ("max_drop", "min_score"):
        if getattr(recipe, name) is not None and recipe.check is None:
            raise UsageError(
                f"{option(name)} is about the score of a --check, and none is given; "
                "write --check 'python eval.py {model}'"
            )
