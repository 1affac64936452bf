"""What an operator is like stands beside its rule: nobody else quotes the name of one."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from onnx import defs

from spa.graph.model import FLOW
from spa.rules import NOTES, RULES, TRAITS, Trait, standard
from spa.rules.traits import NONE
from spa.torch.registry import listed as gradients

ROOT = Path(__file__).parents[1] / "spa"
OPERATORS = {op for _, op in (*NOTES, *standard.reasons())} | {
    s.name for s in defs.get_all_schemas()
}
# How an operator is written in torch stands there, one function per operator as in the rules.
TORCH = ROOT / "torch" / "ops"
OUTSIDE = [
    p
    for p in sorted(ROOT.rglob("*.py"))
    if p.parts[len(ROOT.parts)] not in ("rules", "graph") and TORCH not in p.parents
]

WORDS = {"recipe.py": {"Where"}, "cli": {"Where"}, "reports": {"Size"}}
"""Plain words of headings that are names of operators, too."""


def quoted(text: str) -> Iterator[str]:
    """Names of operators in strings that hold nothing else; docstrings do not count."""
    tree = ast.parse(text)
    told = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            words = node.value.split()
            if OPERATORS.issuperset(words):
                yield from words


def asked(text: str) -> set[str]:
    return {n.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)}


def test_no_operator_is_quoted():
    for path in OUTSIDE:
        found = set(quoted(path.read_text(encoding="utf-8")))
        assert found <= WORDS.get(path.parts[len(ROOT.parts)], set()), (path, found)


def test_names_would_be_found():
    found = quoted(
        '"""Conv."""\nif node.op in ("Add", "x"): OPS = "MatMul Gemm".split()\n"Add one"'
    )
    assert list(found) == ["Add", "MatMul", "Gemm"]


def reaches(function, text: str, seen: set[str]) -> bool:
    """Whether a rule, or a function of the rules that it calls, has code like a pattern."""
    seen.add(function.__qualname__)
    near = (function.__globals__.get(name) for name in function.__code__.co_names)
    more = [f for f in near if inspect.isfunction(f) and f.__module__.startswith("spa.rules.")]
    return bool(re.search(text, inspect.getsource(function))) or any(
        f.__qualname__ not in seen and reaches(f, text, seen) for f in more
    )


WITHOUT_GRADIENTS: dict[tuple[str, str], str] = {}
"""Operators that have a rule but no function of torch, and why: none today."""


def test_every_ruled_operator_is_written_in_torch():
    ruled = {key for key in RULES if key[0] != FLOW}
    assert ruled - gradients().keys() == WITHOUT_GRADIENTS.keys()


def told(name: str) -> set[tuple[str, str]]:
    """The operators that have a trait."""
    return {
        key
        for key, known in TRAITS.items()
        if any(getattr(t, name) != getattr(NONE, name) for _, t in known)
    }


def test_every_contraction_has_a_cost_and_a_form():
    working = {
        key for key, rule in RULES.items() if reaches(rule, r"\bwork\(|times=(?!0\.0)", set())
    }
    assert working | told("contracts") == told("macs") & RULES.keys()
    how = [t.contracts for known in TRAITS.values() for _, t in known if t.contracts]
    assert all((each.letters is None) != (each.window is None) for each in how)


def test_every_lossy_operator_has_a_neutral_one():
    lossy = {key for key, (status, note) in NOTES.items() if "lossy" in (status, note[:5])}
    lossy |= {key for key, rule in RULES.items() if ".lossy(" in inspect.getsource(rule)}
    # in training mode it has none: the proof ends before it
    assert lossy - told("neutral") - told("draws") == {("", "BatchNormalization")}


def test_every_trait_is_told_and_asked_for():
    every = {f.name for f in fields(Trait)}
    assert all(told(name) for name in every)
    properties = {name for name, value in vars(Trait).items() if isinstance(value, property)}
    used = set().union(*(asked(path.read_text(encoding="utf-8")) for path in OUTSIDE))
    assert every | properties <= used
