"""spa: prune any ONNX model, from the shell or from Python.

>>> import spa
>>> result = spa.prune("model.onnx", ratio=0.5)      # doctest: +SKIP
>>> result.save("model.spa.onnx")                    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spa._version import __version__
    from spa.api import apply, bench, inspect, plan, prune, read, sweep, tune, verify
    from spa.config import recipe_of
    from spa.errors import (
        LimitError,
        ReadError,
        SpaError,
        TargetError,
        UsageError,
        VerifyError,
    )
    from spa.pipeline import Result
    from spa.plans import Plan
    from spa.recipe import Recipe

__all__ = [
    "LimitError",
    "Plan",
    "ReadError",
    "Recipe",
    "Result",
    "SpaError",
    "TargetError",
    "UsageError",
    "VerifyError",
    "__version__",
    "apply",
    "bench",
    "inspect",
    "plan",
    "prune",
    "read",
    "recipe_of",
    "sweep",
    "tune",
    "verify",
]

_HOME = {
    "Plan": ("spa.plans", "Plan"),
    "Recipe": ("spa.recipe", "Recipe"),
    "Result": ("spa.pipeline", "Result"),
    **{name: ("spa.errors", name) for name in __all__ if name.endswith("Error")},
    "__version__": ("spa._version", "__version__"),
    "recipe_of": ("spa.config", "recipe_of"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used, so that `import spa` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'spa' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOME.get(name, ("spa.api", name))
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
