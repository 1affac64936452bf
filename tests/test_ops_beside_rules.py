"""What an operator is like stands beside its rule: nobody else quotes the name of one."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from onnx import defs

from spa.rules import NOTES, TRAITS, Trait, standard

ROOT = Path(__file__).parents[1] / "spa"
OPERATORS = {op for _, op in (*NOTES, *standard.reasons())} | {
    s.name for s in defs.get_all_schemas()
}
OUTSIDE = [
    p for p in sorted(ROOT.rglob("*.py")) if p.parts[len(ROOT.parts)] not in ("rules", "graph")
]

WORDS = {
    "cli/options.py": {"Where"},  # a heading of --help
    "reports/sweep_text.py": {"Size"},  # headings of tables
    "reports/zoo_html.py": {"Size"},
    "reports/zoo_text.py": {"Size"},
}
"""Names of operators that are plain words where they stand."""


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


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_operator_is_quoted(path):
    found = Counter(quoted(path.read_text(encoding="utf-8")))
    assert found.keys() == WORDS.get(path.relative_to(ROOT).as_posix(), set()), found


def test_names_would_be_found():
    found = quoted(
        '"""Conv."""\nif node.op in ("Add", "x"): OPS = "MatMul Gemm".split()\n"Add one"'
    )
    assert list(found) == ["Add", "MatMul", "Gemm"]


def test_every_trait_is_told_and_asked_for():
    told = {f.name for f in fields(Trait) for known in TRAITS.values() for _, like in known
            if getattr(like, f.name) != f.default}  # fmt: skip
    assert told == {f.name for f in fields(Trait)}
    properties = {name for name, value in vars(Trait).items() if isinstance(value, property)}
    used = set().union(*(asked(path.read_text(encoding="utf-8")) for path in OUTSIDE))
    assert told | properties <= used
