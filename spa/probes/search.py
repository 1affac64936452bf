"""Finds values for side inputs that have a meaning which normal numbers miss.

A lowest and a highest frequency, a sample rate, a temperature: of a wrong one a model makes nothing
but NaN, or the same whatever else it is given.  Values of many sizes are tried, and those are
taken under which most of the outputs are finite and depend on the other inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, islice, product

import numpy as np

from spa import runtime
from spa.errors import ReadError
from spa.events import Counted, uncounted
from spa.probes.probe import FRESH, Array, Probe, Rows
from spa.runtime import Session

LADDER = (1.0, 0.0, 0.5, 0.1, 10.0, 50.0, 100.0, 440.0, 1000.0, 8000.0, 16000.0)
PAIRS = ((50.0, 8000.0), (0.0, 1.0), (0.1, 1.0), (1.0, 10.0), (0.0, 8000.0), (50.0, 1000.0))
"""Likely ends of a range; all others of `LADDER` follow."""
LARGEST = 4  # numbers in a row of an input that may have a meaning of its own
MOST = 200  # combinations that are tried
ALL = 0.999  # share of outputs that answer from which nothing better is looked for
ROWS = 4
DRAWS = 6
"""Numbers that must all serve where one number is for all rows: a lucky one proves nothing."""


def answers(loaded: Session, probe: Probe) -> float:
    """The share of numbers in the outputs that depend on the inputs; 0 if some are not finite."""
    try:
        one, other = (_outputs(loaded, probe, first) for first in (0, FRESH))
    except ReadError:
        return 0.0
    shares = []
    for first, second in zip(one, other, strict=True):
        if first.dtype.kind not in "fiub":
            continue
        if first.dtype.kind == "f" and not (np.isfinite(first).all() and np.isfinite(second).all()):
            return 0.0
        alike = first.shape == second.shape
        shares.append(float(np.mean(first != second)) if alike and first.size else float(not alike))
    return float(np.mean(shares)) if shares else 0.0


def _outputs(loaded: Session, probe: Probe, first: int) -> list[Array]:
    """The outputs of some rows, those of several runs put together where they fit."""
    rows = [first + k for k in range(ROWS)]
    if probe.available is not None:
        rows = [(row + (ROWS if first else 0)) % probe.available for row in range(ROWS)]
    if probe.rows is None:
        runs = [replace(probe, lengths=None).runs(rows, ROWS)]
    else:
        whole = range(first, first + ROWS * probe.rows)
        runs = [replace(probe, lengths=None).runs(whole)]
    found: list[Array] = []
    for feeds in (feeds for run in runs for feeds in run):
        found += [v for v in runtime.run(loaded, feeds).values() if isinstance(v, np.ndarray)]
    return found


def serve(loaded: Session, probe: Probe, names: Sequence[str]) -> bool:
    """Whether the model answers to its inputs, whichever numbers side inputs are drawn."""
    if not answers(loaded, probe):
        return False
    alone = [s for s in probe.streams if s.name in names and s.axis is None]
    return all(
        answers(loaded, _with(probe, {s.name: s.draw([run], s.shape) for s in alone}))
        for run in range(1, DRAWS)
    )


def searched(
    loaded: Session, probe: Probe, names: Sequence[str], counted: Counted = uncounted
) -> tuple[Probe, Mapping[str, float], bool]:
    """`probe` with values for the side inputs `names`, those values, and whether there are any."""
    best, chosen = 0.0, None
    candidates = list(islice(_combinations(len(names)), MOST))
    done = counted(len(candidates), "candidates")
    for values in candidates:
        if best >= ALL:
            break
        tried = _with(probe, dict(zip(names, values, strict=True)))
        share = answers(loaded, tried)
        if share > best:
            best, chosen = share, values
        done()
    if chosen is None:
        return probe, {}, False
    told = dict(zip(names, chosen, strict=True))
    return _with(probe, told), told, True


def _combinations(count: int) -> Iterator[tuple[float, ...]]:
    """Values for so many inputs: ranges of two of them, lowest first, before all others."""
    if count == 1:
        yield from ((value,) for value in LADDER)
        return
    pairs = [*PAIRS, *(p for p in combinations(sorted(LADDER), 2) if p not in PAIRS)]
    for rest in (1.0, 0.0, 0.5) if count > 2 else (1.0,):
        for low, high in pairs:
            for one, other in combinations(range(count), 2):
                values = [rest] * count
                values[one], values[other] = low, high
                yield tuple(values)
    yield from product(LADDER, repeat=count)


def _with(probe: Probe, told: Mapping[str, float | Array]) -> Probe:
    """`probe` with one number, or one array, for all rows of some inputs."""

    def draw(rows: Rows, shape: tuple[int, ...], value: float | Array) -> Array:
        return np.broadcast_to(value, (len(rows), *shape))

    return probe.redrawn({name: partial(draw, value=value) for name, value in told.items()})
