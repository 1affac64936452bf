"""Asking a user's own check about a model file; higher scores are better.

A check is a command line in which `{model}` stands for the file (its score is the last number that
it prints, but for that of `rows=2000`, which says of how many rows the score is a share), an entry
point `module:function` (called in a process of its own), or, from Python, any function that takes a
path; functions return a score, or a score and a number of rows.  No shell is involved.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spa.errors import UsageError

Check = str | Callable[[str], Any]
MODEL = "{model}"
ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf(?:inity)?)(?![\w.]*\w)",
    re.IGNORECASE,
)
ROWS = re.compile(r"\brows\s*[=:]\s*(\d+)", re.IGNORECASE)
UNKNOWN = 64  # the exit code of `spa.check.entry` where there is no such function
LONGEST = 300  # characters of somebody else's words in one of our sentences


@dataclass(frozen=True)
class Score:
    """What a check said."""

    value: float | None  # finite; None if it gave none
    trouble: str | None = None  # why the check failed, in a few words
    rows: int | None = None  # of how many rows the score is a share, where the check says so


def name_of(check: Check) -> str:
    """What a report calls a check."""
    if isinstance(check, str):
        return check
    own = getattr(check, "__qualname__", type(check).__qualname__)
    return f"{getattr(check, '__module__', None) or '?'}:{own}"


def validate(check: Check) -> None:
    """Raise UsageError for a check that could never run."""
    if not isinstance(check, str):
        if not callable(check):
            raise UsageError(f"--check is a command line or a function, not {check!r}")
        return
    if ENTRY.fullmatch(check):
        return
    try:
        words = shlex.split(check)
    except ValueError as error:
        raise UsageError(f"--check {check!r} is no command line ({error}); quote it") from error
    if not any(MODEL in word for word in words[1:]):
        raise UsageError(
            f"--check {check!r} does not say where the model goes; write it like "
            f"'python eval.py {MODEL}', or name a Python function, module:function"
        )


def score(check: Check, model: str | os.PathLike[str]) -> Score:
    """What a check says about a model file.

    Raises:
        UsageError: the command or the function does not exist.
    """
    path = os.path.abspath(model)
    if not isinstance(check, str):
        return _called(check, path)
    if ENTRY.fullmatch(check):
        return _answer(check, [sys.executable, "-m", "spa.check.entry", check, path], _home())
    return _answer(check, [word.replace(MODEL, path) for word in shlex.split(check)])


def _called(check: Callable[[str], Any], path: str) -> Score:
    try:
        value, rows = with_rows(check(path))
        return Score(_finite(value), rows=rows)
    except Exception as error:  # whatever somebody else's function raises, it has failed
        return Score(None, _short(f"{type(error).__name__}: {error}"))


def _answer(check: str, words: Sequence[str], env: dict[str, str] | None = None) -> Score:
    import subprocess

    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False
        )
    except OSError as error:
        raise UsageError(
            f"--check cannot start {words[0]!r} ({error.strerror or error}); check the command"
        ) from error
    told = _last_line(done.stderr)
    if done.returncode == UNKNOWN and env is not None:
        raise UsageError(f"--check {check}: {told or 'there is no such function'}")
    if done.returncode:
        code = done.returncode
        ending = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        return Score(None, _short(f"{ending}{f': {told}' if told else ''}"))
    text = done.stdout.decode("utf-8", "replace")
    rows = ROWS.findall(text)
    found = NUMBER.findall(ROWS.sub("", text))
    value = _finite(float(found[-1])) if found else None
    return Score(value, rows=int(rows[-1]) or None if rows else None)


def with_rows(said: Any) -> tuple[float, int | None]:
    """A score that a function returned, alone or with the number of its rows."""
    if isinstance(said, (tuple, list)):
        value, rows = said
        return float(value), int(rows) or None
    return float(said), None


def _home() -> dict[str, str]:
    """This process's environment, in which whatever it can import can be imported, too."""
    own = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(own))}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _last_line(words: bytes) -> str:
    lines = words.decode("utf-8", "replace").strip().splitlines()
    return _short(lines[-1].strip()) if lines else ""


def _short(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
