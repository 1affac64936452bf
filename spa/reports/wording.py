"""Numbers, names and rows of tables as people read them, on the screen, in Markdown and HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps

NOTHING = "–"

DRIFT = "drift (NRMSE)"
"""What a drift is called wherever it is shown: a root mean square error, normalised by the standard
deviation of the original's output."""
DRIFT_TITLE = "Drift (NRMSE)"

LONGEST = 900
"""Characters of one sentence, or of one name: those of a model may be any length."""


class Cell(str):
    """Words of a kind: plain, good, bad, warning, dim, or code, which is a name in the model."""

    kind: str

    def __new__(cls, words: object, kind: str = "plain") -> Cell:
        """Make words of a kind."""
        made = super().__new__(cls, words)
        made.kind = kind
        return made


@dataclass(frozen=True)
class Table:
    """A table whose first `left` columns are words and the others numbers; false if empty."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def __bool__(self) -> bool:
        return bool(self.rows)


def line(text: object) -> str:
    """One line of any length, none of whose characters controls anything.

    Names in a model may hold anything, even what moves the cursor or turns text around.
    """
    words = " ".join(str(text).split())
    return words if words.isprintable() else "".join(c if c.isprintable() else "?" for c in words)


def printable(text: object) -> str:
    """A line of at most `LONGEST` characters."""
    return shorten(line(text), LONGEST)


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a long name; its beginning and end tell layers apart."""
    if len(text) <= width:
        return text
    tail = width // 2
    return f"{text[: width - tail - 1]}…{text[-tail:]}"


def _known(write: Callable[[float], str]) -> Callable[[float | None], str]:
    """What is not known, or no number, is a dash."""

    @wraps(write)
    def shown(number: float | None) -> str:
        return NOTHING if number is None or not math.isfinite(number) else write(number)

    return shown


@_known
def count(number: float) -> str:
    """25557032 becomes 25.56 M."""
    return _scaled(number, ("", " k", " M", " G", " T", " P"))


@_known
def size(number: float) -> str:
    """A file size in decimal units, as file managers and registries show it."""
    return _scaled(number, (" B", " kB", " MB", " GB", " TB", " PB"))


def _scaled(number: float, units: Sequence[str]) -> str:
    if abs(number) < 1000:
        return f"{number:.4g}{units[0]}"
    power = min(int(math.log10(abs(number)) // 3), len(units) - 1)
    if power + 1 < len(units) and round(abs(number) / 1000**power, 2) >= 1000:
        power += 1
    return f"{number / 1000**power:.2f}{units[power]}"


@_known
def milliseconds(number: float) -> str:
    """A latency with three significant digits."""
    return f"{number:.3g} ms"


@_known
def seconds(number: float) -> str:
    """A duration a person can compare."""
    if number < 0.9995:
        return f"{number * 1000:.0f} ms"
    if number < 99.95:
        return f"{number:.1f} s"
    return f"{int(round(number) // 60)} min {round(number) % 60:02d} s"


@_known
def percent(share: float) -> str:
    """A share in 0..1 as a percentage."""
    return f"{share:.1%}"


@_known
def change(removed: float) -> str:
    """A removed share as the change it makes: 0.25 becomes -25.0%."""
    return "same" if removed == 0 else f"{-removed:+.1%}"


def factor(speedup: float | None, low: float | None = None, high: float | None = None) -> str:
    """A speed-up in words; if it lies somewhere from `low` to `high`, and so does 1, both ends."""
    if speedup is None or not math.isfinite(speedup) or speedup <= 0:
        return NOTHING
    if alike(low, high):
        return f"{low:.2f}x to {high:.2f}x"
    if 0.995 <= speedup < 1.005:
        return "same"
    return f"{speedup:.2f}x faster" if speedup > 1 else f"{1 / speedup:.2f}x slower"


def alike(low: float | None, high: float | None) -> bool:
    """Whether a speed-up between these may be none."""
    return low is not None and high is not None and low <= 1 <= high


def measure(number: float | None) -> str:
    """A difference or score with three significant digits; "nan" and "inf" are news, so shown."""
    return NOTHING if number is None else f"{number:.3g}"


def score(number: float | None) -> str:
    """A score as a person compares it: four significant digits."""
    return NOTHING if number is None else f"{number:.4g}"


def shape(dims: Sequence[int | str | None]) -> str:
    """A tensor's shape: symbols stay, an unknown size is a question mark."""
    return f"[{', '.join('?' if dim is None else printable(dim) for dim in dims)}]"


def value(given: object) -> str:
    """A setting of any kind."""
    if given is None:
        return NOTHING
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, Mapping):
        return ", ".join(f"{key}={value(each)}" for key, each in given.items())
    if isinstance(given, Sequence) and not isinstance(given, str):
        return ", ".join(map(value, given))
    return str(given)


def plural(number: int, noun: str) -> str:
    """1 group, 2 groups."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def to_csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for programs: figures as they are, text of printable characters."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in row])
    return made.getvalue()
