"""Where operators are registered: what their rules and refits are, and what to know of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from spa.graph.model import Node
from spa.labels import Image

MICROSOFT = "com.microsoft"  # the domain of what onnxruntime adds to the standard
Fixes = dict[str | int, Any]
Status = Literal["ruled", "lossy", "frozen"]
Rule = Callable[..., Image | list[Image]]
Ruling = TypeVar("Ruling", bound=Rule)
Refit = TypeVar("Refit", bound=Callable[..., Fixes])

RULES: dict[tuple[str, str], Rule] = {}
REFITS: dict[tuple[str, str], Callable[..., Fixes]] = {}
SILENT: dict[tuple[str, str], Callable[[Node], bool]] = {}
NOTES: dict[tuple[str, str], tuple[Status, str]] = {}


def rule(
    *names: str, domain: str = "", note: str = "", lossy: str = "", frozen: str = ""
) -> Callable[[Ruling], Ruling]:
    """Register the rule of one or more operators.

    Args:
        names: the operators.
        domain: of the operators; `""` is ai.onnx.
        note: what to know about the operator; the default is the first line of the docstring.
        lossy: when what is kept is not exactly what it was.
        frozen: why the rule lets no channel through at all.
    """

    def add(function: Ruling) -> Ruling:
        said = lossy or frozen or note or (function.__doc__ or "").split("\n")[0].rstrip(".")
        status: Status = "lossy" if lossy else "frozen" if frozen else "ruled"
        for name in names:
            if (domain, name) in RULES:
                raise ValueError(f"{name} is registered twice")
            RULES[domain, name] = function
            NOTES[domain, name] = status, said
        return function

    return add


def refit(
    *names: str, domain: str = "", silent: Callable[[Node], bool] = lambda node: False
) -> Callable[[Refit], Refit]:
    """Register what recomputes the sizes an operator states.

    `silent` tells of a node whether it states none at all, whatever is cut.
    """

    def add(function: Refit) -> Refit:
        for name in names:
            if (domain, name) in REFITS:
                raise ValueError(f"{name} is refitted twice")
            REFITS[domain, name] = function
            SILENT[domain, name] = silent
        return function

    return add
