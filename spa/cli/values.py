"""How values are written on a command line, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from spa import allowed


def pair(mark: str, read: Callable[[str], Any], example: str) -> Callable[[Any], tuple[str, Any]]:
    """Read NAME, a mark and a value; the name may hold the mark, so the last one counts."""

    def convert(given: Any) -> tuple[str, Any]:
        if isinstance(given, tuple):  # of a config
            return given
        name, found, rest = str(given).rpartition(mark)
        try:
            if name and found:
                return name, read(rest)
        except ValueError:
            pass
        raise click.BadParameter(f"{given!r} is not written like {example}")

    return convert


def round_to(text: Any) -> int | str:
    """A whole number, or "auto"."""
    try:
        return "auto" if text == "auto" else int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a whole number nor auto") from None


def seconds(text: Any) -> float | str:
    """A number of seconds, "auto" or "off"."""
    try:
        return str(text) if text in ("auto", "off") else float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number of seconds, auto or off") from None


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",")) if text else ()


def memory(text: Any) -> int:
    """Bytes, from a number with or without a unit: 4G, 512M, 1.5GiB."""
    try:
        return allowed.size(str(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def numbers(example: str) -> Callable[[Any], tuple[float, ...]]:
    """Read numbers with commas between them."""

    def convert(text: Any) -> tuple[float, ...]:
        if not isinstance(text, str):
            return tuple(text)
        try:
            return tuple(float(number) for number in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not written like {example}") from None

    return convert


LAYER_RATIO = pair("=", float, "layer1.*=0.3")
INPUT_SHAPE = pair(":", _sizes, "input:1,3,224,224")


def unique(
    ctx: click.Context, param: click.Parameter, pairs: Sequence[tuple[str, Any]]
) -> dict[str, Any]:
    """The pairs as a mapping, of which no name is given twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise click.BadParameter("the same name is given twice", ctx, param)
    return found
