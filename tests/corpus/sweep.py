"""Many squares: which to try, what came of them, in a table by operator."""

from __future__ import annotations

import logging
import traceback
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from spa.graph import Graph, read
from tests.corpus.cases import Case, cases, layouts, variants
from tests.corpus.extra import extra
from tests.corpus.square import Result, Runner, square

GOLDEN = Path(__file__).parents[1] / "golden" / "corpus.txt"
SAMPLE = 40
"""Squares per operator in a test run; `scripts/checks/corpus.py` tries them all."""

PATIENCE = 6
"""Tries for each square that is to compare something, most being frozen."""

logging.getLogger("spa").setLevel(logging.ERROR)


@dataclass
class Table:
    """Counts of outcomes by operator, notes on them, and failures in full."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[str] = field(default_factory=list)

    def add(self, case: Case, where: str, result: Result) -> None:
        """Count one square."""
        self.counts[case.key][result.outcome] += 1
        if result.note:
            self.notes[case.key, result.outcome][result.note] += 1
        if result.outcome == "DIFF":
            self.failures.append(f"{case.name} {where}: {result.note}")


def seed_of(text: str) -> int:
    """A number that depends on the text only."""
    return zlib.crc32(text.encode())


def sweep(chosen: Iterable[Case], most: int | None = None) -> Table:
    """Try the squares of these cases; about `most` per operator, spread over its cases."""
    table = Table()
    chosen = list(chosen)
    peers = Counter(case.key for case in chosen)
    for case in chosen:
        share = None if most is None else max(1, -(-most // peers[case.key]))
        for where, result in squares(case, share):
            table.add(case, where, result)
    return table


def squares(case: Case, most: int | None) -> Iterator[tuple[str, Result]]:
    """The squares of one case in random order, until `most` of them compared something."""
    tries = [(variant, way) for variant in variants(case) for way in layouts(variant)]
    read_once: dict[int, tuple[Graph, Runner]] = {}
    compared = 0
    for k in np.random.default_rng(seed_of(case.name)).permutation(len(tries))[
        : most and PATIENCE * most
    ]:
        variant, way = tries[k]
        where = f"moving {list(variant.feeds)} labels {way}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if id(variant) not in read_once:
                    read_once[id(variant)] = read(variant.model), Runner(variant)
                graph, runner = read_once[id(variant)]
                result = square(graph, variant, way, seed_of(case.name + where), runner)
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {error} ({place.filename[-30:]}:{place.lineno})"
                result = Result("DIFF", text)
        yield where, result
        compared += result.outcome != "frozen"
        if compared == most:
            return


def sample() -> Table:
    """The squares of every test run."""
    return sweep((*cases(), *extra()), SAMPLE)


def exercised(table: Table) -> list[str]:
    """A line for every operator with the outcomes that compare something."""
    found = []
    for key, counts in sorted(table.counts.items()):
        outcomes = [o for o in ("ok", "lossy") if counts[o]]
        found += [f"{key}: {' '.join(outcomes)}"] if outcomes else []
    return [f"# onnx {onnx.__version__}", *found]


def matching(glob: str) -> list[Case]:
    """The cases whose name or operator matches."""
    from fnmatch import fnmatchcase

    every = (*cases(), *extra())
    return [c for c in every if fnmatchcase(c.name, glob) or fnmatchcase(c.key, glob)]
