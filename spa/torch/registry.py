"""Where the torch functions of operators are registered: how each is computed with gradients.

    @op("Softmax", since=13)
    def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
        return x.softmax(axis)

Inputs are positional, None where a node leaves one out.  Attributes are keywords with the default
of the standard; they are bound once, when a file is loaded.  A few keywords are no attributes but
what a function may ask for, see `ASKED`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import iter_modules
from typing import TypeVar

MICROSOFT = "com.microsoft"
"""The domain of what onnxruntime adds to the standard."""

ALL = frozenset(range(1000))
"""Every input."""

ASKED = frozenset(("version", "inputs", "outputs", "state", "soft", "kinds"))
"""Keywords that are no attributes: the opset's version, how many inputs and outputs the node has,
the module's `Mode`, and whether what is quantised only feeds what undoes it."""

Function = Callable[..., object]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Operator:
    """How an operator is computed, for a range of versions.

    Attributes:
        function: takes inputs by position and attributes by keyword.
        since: the first version of the opset that it is for.
        until: the last one.
        host: inputs that are read as Python numbers; they stay on the CPU.
        steer: inputs that no gradient reaches: they are not trained (`host` is among them).
        moves: whether it only moves elements about, so that it needs no arithmetic.
        bounded: whether it makes no more than it reads, whatever the numbers are that it reads.
        names: attributes that it takes.
        asks: what it asks for, of `ASKED`.
    """

    function: Function
    since: int
    until: int
    host: frozenset[int]
    steer: frozenset[int]
    moves: bool
    bounded: bool
    names: frozenset[str]
    asks: frozenset[str]


OPERATORS: dict[tuple[str, str], list[Operator]] = {}
FREE = frozenset(("consumed_inputs",))
"""Attributes of old versions that say nothing of what is computed."""


def op(
    *names: str,
    domain: str = "",
    since: int = 1,
    until: int = 1 << 30,
    host: Iterable[int] = (),
    steer: Iterable[int] = (),
    moves: bool = False,
    bounded: bool = False,
) -> Callable[[F], F]:
    """Register the function of one or more operators; for the arguments see `Operator`."""

    def add(function: F) -> F:
        keywords = _keywords(function)
        held = frozenset(host)
        made = Operator(
            function,
            since,
            until,
            held,
            ALL if steer is ALL else held | frozenset(steer),
            moves,
            bounded or not held,
            frozenset(keywords - ASKED),
            frozenset(keywords & ASKED),
        )
        for name in names:
            known = OPERATORS.setdefault((domain, name), [])
            if any(since <= each.until and each.since <= until for each in known):
                raise ValueError(f"{name} is registered twice")
            known.append(made)
        return function

    return add


def _keywords(function: Function) -> set[str]:
    """What a function takes by name only; those of torch itself take none here."""
    try:
        found = signature(function).parameters.items()
    except ValueError:
        return set()
    return {name for name, each in found if each.kind is Parameter.KEYWORD_ONLY}


@cache
def imported() -> None:
    """Import every file of functions, which registers them."""
    folder = Path(__file__).parent / "ops"
    for each in iter_modules([str(folder)]):
        import_module(f"spa.torch.ops.{each.name}")


def listed() -> dict[tuple[str, str], str]:
    """All operators that have a function, and in which file: read from the sources."""
    found = {}
    for path in sorted((Path(__file__).parent / "ops").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("op", "both"):
                domain = next((k.value for k in node.keywords if k.arg == "domain"), None)
                where = domain.value if isinstance(domain, ast.Constant) else MICROSOFT
                for name in node.args:
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        found["" if domain is None else str(where), name.value] = path.stem
    return found


def find(domain: str, name: str, version: int) -> Operator | None:
    """The function of an operator in a version of its domain, or None."""
    imported()
    for each in OPERATORS.get((domain, name), ()):
        if each.since <= version <= each.until:
            return each
    return None
