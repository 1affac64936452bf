"""What can go wrong, as the shell sees it: one class per exit code, one sentence per error.

A message says what happened, where (file, node, tensor) and what to do next, so that it can be
printed as it is.  Exit codes: 1 internal, 2 usage, 3 input, 4 target, 5 verification, 6 zoo,
7 limit, 130 interrupted.
"""

from __future__ import annotations

import re


class SpaError(Exception):
    """An error spa foresaw; `str(error)` is the sentence a person reads."""

    exit_code = 1


class UsageError(SpaError):
    """The options contradict each other or name something that does not exist."""

    exit_code = 2


class ReadError(SpaError):
    """The input is missing, unreadable, not a valid ONNX model, or not supported."""

    exit_code = 3


class TargetError(SpaError):
    """The requested reduction cannot be reached, or there is nothing to prune."""

    exit_code = 4


class VerifyError(SpaError):
    """The pruned model failed verification or one of the gates."""

    exit_code = 5


class ZooError(SpaError):
    """Some models of a zoo failed."""

    exit_code = 6


class LimitError(SpaError):
    """A time or memory limit was hit."""

    exit_code = 7


def install(*extras: str) -> str:
    """The command that brings what an extra of this package needs; any of them, where several do.

    In double quotes, which every shell takes.
    """
    return "pip install " + " or ".join(f'"onnx-spa[{extra}]"' for extra in extras)


FOREIGN = 400
"""Characters of what another library says that fit into a sentence of ours."""


PLACE = re.compile(
    r"\S+\.\w+:\d+(?:: (?:\w+: )?(?:Assertion `.*?` failed: )?"
    r"| (?:[\w:&*<>, ]+ )?[\w:<>]+\([^()]*\) )"
)
"""How libraries in C++ begin: a place in their source, and what did not hold there."""

TYPES = re.compile(r"\[with [^\[\]]* = [^\[\]]*\] ?")
"""What a compiler writes behind the name of a function: which types it was made for."""


def first_line(error: BaseException) -> str:
    """The first line of what an exception of any library says, as far as it fits."""
    text = TYPES.sub("", PLACE.sub("", str(error))).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= FOREIGN else f"{line[:FOREIGN]}…"
