"""What is compared: every method is a tool and the options it is called with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

RIVALS = ("onnxsim", "torch-pruning")
"""Tools that run in an environment of their own, and have their ratio searched for."""


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        name: as given on the command line.
        words: as printed.
        tool: "none", "spa" or one of `RIVALS`.
        options: keywords of `spa.prune`, or of the rival's class in `accuracy.rivals`.
        calib: whether real inputs are fitted on.
        seeded: whether the seed changes the result.
    """

    name: str
    words: str
    tool: str = "spa"
    options: Mapping[str, Any] = field(default_factory=dict)
    calib: bool = False
    seeded: bool = False

    def facts(self) -> dict[str, Any]:
        """What decides the result, as JSON can hold it."""
        return {k: v for k, v in asdict(self).items() if k in ("tool", "options", "calib")}


def _obspa(name: str, words: str, calib: bool = False, **options: Any) -> Method:
    return Method(name, words, "spa", {"scorer": "obspa", **options}, calib, seeded=True)


_ALL = (
    Method("dense", "dense", "none"),
    Method("random", "random channels", options={"scorer": "random"}, seeded=True),
    Method("l1", "L1, cut only", options={"scorer": "l1"}),
    Method("l2", "L2, cut only", options={"scorer": "l2"}),
    Method(
        "l2-fit", "L2, reconstructed", options={"scorer": "l2", "reconstruct": True}, seeded=True
    ),
    _obspa("obspa", "**spa**, no data"),
    _obspa("obspa-cut", "spa, no data, cut only", reconstruct=False),
    _obspa("obspa-uniform", "spa, uniform noise", probe="uniform"),
    _obspa("obspa-gaussian", "spa, Gaussian noise", probe="gaussian"),
    _obspa("obspa-real", "spa, real inputs", calib=True),
    Method("onnxsim", "onnxsim", "onnxsim"),
    Method("onnxsim-global", "onnxsim, global", "onnxsim", {"everywhere": True}),
    Method("onnxsim-fixed", "onnxsim, sizes fixed", "onnxsim", {"shape": [8, 64]}),
    Method("onnxsim-tuned", "onnxsim, refitted on its random inputs", "onnxsim", {"tune": True}),
    Method(
        "onnxsim-tuned-real", "onnxsim, refitted on real inputs", "onnxsim", {"tune": True}, True
    ),
    Method("torch-pruning", "Torch-Pruning", "torch-pruning"),
    Method("torch-pruning-global", "Torch-Pruning, global", "torch-pruning", {"everywhere": True}),
)
METHODS = {method.name: method for method in _ALL}
DEFAULT = (
    "dense", "random", "l1", "l2", "obspa", "obspa-uniform", "obspa-gaussian", "obspa-real",
    "onnxsim", "torch-pruning",
)  # fmt: skip


def settings(text: str) -> dict[str, Any]:
    """`key=value,key=value`; values are JSON where they can be read as such, else text.

    Raises:
        ValueError: a part has no `=`.
    """
    found: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        key, mark, value = part.partition("=")
        if not mark:
            raise ValueError(f"{part!r} is not written key=value")
        try:
            found[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[key.strip()] = value
    return found


def variant(text: str) -> Method:
    """A method of one's own: `NAME=BASE,key=value,...`, for ablations.

    Raises:
        ValueError: it is not written so, or the base is unknown.
    """
    name, mark, rest = text.partition("=")
    base, _, more = rest.partition(",")
    if not mark or base not in METHODS:
        raise ValueError(f"{text!r} is not written NAME=BASE,key=value with a BASE of {_names()}")
    changes = settings(more)
    return replace(
        METHODS[base], name=name, words=name, options={**METHODS[base].options, **changes}
    )


def chosen(names: list[str], variants: list[Method], spa: Mapping[str, Any]) -> list[Method]:
    """The methods called `names` and the variants; `spa` is added to what spa is called with.

    Raises:
        ValueError: there is no such method.
    """
    missing = [name for name in names if name not in METHODS]
    if missing:
        raise ValueError(f"there is no method {missing[0]!r}; choose from {_names()}")
    methods = [METHODS[name] for name in names] + variants
    return [replace(m, options={**spa, **m.options}) if m.tool == "spa" else m for m in methods]


def _names() -> str:
    return ", ".join(METHODS)
