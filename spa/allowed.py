"""What the fields of a recipe may be, and how a shell spells them.

Types, choices and bounds are msgspec's.  What its errors lack is added here: the option that is
meant, the value that was given and what to write instead.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Annotated, Literal, TypeVar, get_args

from msgspec import Meta, ValidationError, convert

from spa.errors import UsageError

T = TypeVar("T")
UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
MOST_STEPS = 100

# What values may be.  The words follow the name of an option, and the value follows them.
LARGEST = sys.float_info.max
Ratio = Annotated[float, Meta(gt=0, lt=1, description="must lie strictly between 0 and 1")]
Most = Annotated[float, Meta(gt=0, le=1, description="must lie in (0, 1]")]
Share = Annotated[float, Meta(ge=0, lt=1, description="must be a share in [0, 1)")]
Agreement = Annotated[float, Meta(ge=0, le=1, description="must be a share in [0, 1]")]
Factor = Annotated[float, Meta(gt=0, le=LARGEST, description="must be a factor above 0")]
Faster = Annotated[float, Meta(gt=1, le=LARGEST, description="must be a factor above 1")]
Drift = Annotated[float, Meta(ge=0, description="must be a number of at least 0")]
Loss = Annotated[float, Meta(ge=0, le=LARGEST, description="must be a number of at least 0")]
Finite = Annotated[float, Meta(ge=-LARGEST, le=LARGEST, description="must be a finite number")]
Count = Annotated[int, Meta(ge=1, description="must be a whole number of at least 1")]
Seed = Annotated[int, Meta(ge=0, description="must be a whole number of at least 0")]
Steps = Annotated[
    int, Meta(ge=1, le=MOST_STEPS, description=f"must be a whole number from 1 to {MOST_STEPS}")
]
Bytes = Annotated[int, Meta(ge=1, description="must be a whole number of bytes, at least 1")]
Memory = Annotated[int, Meta(ge=1 << 20, description="must be at least 1M, in whole bytes")]
Multiple = Annotated[
    Count | Literal["auto"], Meta(description='must be a whole number of at least 1 or "auto"')
]
Moved = Annotated[
    Annotated[float, Meta(gt=0, le=LARGEST)] | Literal["auto", "off"],
    Meta(description='must be a number of seconds above 0, "auto" or "off"'),
]
Globs = Annotated[tuple[str, ...], Meta(description="must be a sequence of globs")]
Sizes = Annotated[
    tuple[Count, ...], Meta(description="must be whole sizes of at least 1, as in 1,3,224,224")
]
Pixels = Annotated[
    tuple[Finite, ...], Meta(min_length=1, description="must be finite numbers, one or several")
]
Spread = Annotated[
    tuple[Factor, ...], Meta(min_length=1, description="divides, so it must be above 0")
]
Range = Annotated[
    tuple[Finite, Finite], Meta(description="must be two numbers, the lower one first, as in 0,255")
]
Switch = Annotated[bool, Meta(description="must be true or false")]
Budget = Annotated[
    str,
    Meta(
        pattern=r"^(auto|off)$|^\s*(?=[\d.]*[1-9])\d+(\.\d+)?\s*(s|m|min|h)\s*$|^\s*[1-9]\d*\s*steps\s*$",
        description="must be a time such as 5m, 90s or 1h, a number of steps such as 400steps, "
        '"auto" or "off"',
    ),
]
Path = Annotated[str, Meta(description="must be the path of a file")]
Level = Literal["good", "risky", "broken", "unknown"]
"""What the outputs of a model may say of it."""
Least = Annotated[Literal["good", "risky"], Meta(description="must be good or risky")]


@dataclass(frozen=True)
class Option:
    """How a field is spelt and explained in a shell.

    Attributes:
        section: the heading under which `--help` lists it.
        help: what it says there.
        names: its spellings, where the field's name is not the only one.
        form: how its value is written, where that is no plain number, word or flag.
        shown: whether `--help` has it; what few people set is reached by `--set` and `--config`.
        advice: ends the sentence that refuses a value.
    """

    section: str
    help: str
    names: tuple[str, ...] = ()
    form: str | None = None
    shown: bool = True
    advice: str = ""


def asked(
    default: T,
    section: str,
    help: str,
    *names: str,
    form: str | None = None,
    shown: bool = False,
    advice: str = "",
) -> T:
    """A field of `Recipe` with its option."""
    option = {"option": Option(section, help, names, form, shown, advice)}
    if isinstance(default, dict):
        made = field(default_factory=default.copy, metadata=option)
    else:
        made = field(default=default, metadata=option)  # type: ignore[arg-type]
    return made  # type: ignore[return-value]


def spelt(name: str, option: Option) -> str:
    """How the shell spells a field."""
    return f"{'--' if option.shown else '--set '}{name.replace('_', '-')}"


def fitted(value: object, kind: object, option: Option, words: str) -> object:
    """A value as its type has it.

    Args:
        value: what was given; numbers and arrays of numpy, sequences and paths are taken, too.
        kind: the type.
        option: that of the field.
        words: what the sentence calls it.

    Raises:
        UsageError: it is none of the values that the type allows.
    """
    if isinstance(value, Mapping):
        of = get_args(kind)
        if len(of) == 2 and of[0] is str:
            return {
                str(key): fitted(each, of[1], option, f"{words} of {str(key)!r}")
                for key, each in value.items()
            }
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "tolist"):
        value = value.tolist()
    try:
        return convert(value, kind, strict=True)
    except ValidationError:
        advice = _advice(value, kind) or option.advice
        raise UsageError(
            f"{words} {_described(kind)}, not {_shown(value)}{'; ' if advice else ''}{advice}"
        ) from None


def size(text: str) -> int:
    """Bytes, from a number with or without a unit: 4G, 512M, 1.5GiB.

    Raises:
        ValueError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no size; write 4G or 512M")
    return int(float(found[1]) * (1 << UNITS[found[2].lower()]))


def budget(text: str) -> tuple[float | None, int | None]:
    """Seconds, or a number of steps, of a `Budget` such as 5m or 400steps."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text)
    assert found is not None  # as its type has it
    number, unit = found.groups()
    if unit == "steps":
        return None, int(number)
    return float(number) * {"s": 1, "m": 60, "min": 60, "h": 3600}[unit], None


def chosen(value: object, choices: Collection[str], words: str) -> object:
    """A value that is one of these.

    Raises:
        UsageError: it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
        raise UsageError(f"{words} {value!r} is unknown; {hint}")
    return value


def _described(kind: object) -> str:
    """What a type demands, in words."""
    for each in (*getattr(kind, "__metadata__", ()), *get_args(kind)):
        if isinstance(each, Meta) and each.description:
            return each.description
        if words := _described(each) if get_args(each) else "":
            return words
    return "must be a table of names and values" if get_args(kind) else ""


def _advice(value: object, kind: object) -> str:
    """What to write instead, where that follows from the value."""
    if kind is Globs and isinstance(value, str):
        return f"write [{value!r}]"
    if isinstance(value, str) and _is_number(value) and fits(float(value), kind):
        return f"write {value.strip()} without quotes, a number and no text"
    if Ratio not in (kind, *get_args(kind)):
        return ""
    number = value if isinstance(value, (int, float)) else 0.5
    if 1 < number < 100:
        return f"write {number / 100:g} to remove {number:g} %"
    return "0.5 removes half" if number else "to look without cutting use `spa inspect`"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def fits(value: float, kind: object) -> bool:
    """Whether a number, whole if it can be, is what a type allows."""
    try:
        convert(int(value) if value.is_integer() else value, kind, strict=True)
    except (ValidationError, OverflowError):
        return False
    return True


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_shown, value)) or "none"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}" if number else short(value)
