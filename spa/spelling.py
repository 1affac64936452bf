"""How options are spelt where a sentence is read.

Sentences are written as a shell has it: `--max-drift 0.1`, `--set steps=3`, `spa plan`.  Whoever
calls from Python reads `max_drift=0.1`, `steps=3` and `spa.plan`.
"""

from __future__ import annotations

import re

from spa.recipe import CHOICES
from spa.registry import NAMED

COMMAND = re.compile(
    r"\bspa (apply|bench|inspect|ops|plan|prune|sweep|verify)\b(?: --[a-z]+(?=`))?"
)
OPTION = re.compile(r"(?<![\w-])(?:--set |--)([a-z][a-z-]+)([= ][^\s,;:)]+)?")
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
WORDS = frozenset().union(*CHOICES.values())
FLAGS = frozenset(("fastest", "force", "resume", "strict", "require_proof"))
FILE = re.compile(r"(?<![\w-])-o(?: FILE)?\b")


def in_python(sentence: str) -> str:
    """The sentence with options and commands as Python spells them."""
    sentence = COMMAND.sub(r"spa.\1", sentence)
    sentence = FILE.sub("output=", sentence)
    return OPTION.sub(_argument, sentence)


def _argument(found: re.Match[str]) -> str:
    name, rest = found[1].replace("-", "_"), found[2] or ""
    value = _value(name, rest)
    if value is not None:
        return f"{name}={value}"
    return (f"{name}=True" if name in FLAGS else f"{name}=") + rest


def _value(name: str, rest: str) -> str | None:
    """What follows an option, as Python writes it; None where that is the next word."""
    word = rest[1:]
    if word in ("true", "false"):
        return word.capitalize()
    if NUMBER.fullmatch(word):
        return word
    if name in NAMED:
        known = word.isidentifier() and NAMED[name].offers(word)
    else:
        known = word in CHOICES.get(name, WORDS)
    if known or rest.startswith("="):
        return f'"{word}"'
    return word if word.startswith("'") else None


def in_file(sentence: str) -> str:
    """The sentence with options as a config file spells them."""
    return re.sub(r"(?<![\w-])(--set |--)(?=[a-z])", "", sentence)
