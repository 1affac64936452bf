"""Many squares: which to try, what came of them, in a table by operator."""

from __future__ import annotations

import logging
import traceback
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from spa.graph import read
from tests.corpus.cases import Case, cases, layouts, variants
from tests.corpus.extra import extra
from tests.corpus.square import Result, Runner, square

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
    """Try the squares of these cases; at most `most` per operator, spread over its cases."""
    table = Table()
    chosen = list(chosen)
    peers = Counter(case.key for case in chosen)
    for case in chosen:
        share = None if most is None else max(1, -(-most // peers[case.key]))
        for where, result in squares(case, share):
            table.add(case, where, result)
    return table


def squares(case: Case, most: int | None) -> Iterator[tuple[str, Result]]:
    """The squares of one case, or `most` of them chosen at random."""
    tries = []
    for variant in variants(case):
        tries += [(variant, way) for way in layouts(variant)]
    if most is not None and len(tries) > most:
        rng = np.random.default_rng(seed_of(case.name))
        tries = [tries[i] for i in sorted(rng.choice(len(tries), most, replace=False))]
    last = graph = runner = None
    for variant, way in tries:
        where = f"moving {list(variant.feeds)} labels {way}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if variant is not last:
                    last, graph, runner = variant, read(variant.model), Runner(variant)
                yield where, square(graph, variant, way, seed_of(case.name + where), runner)
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {error} ({place.filename[-30:]}:{place.lineno})"
                yield where, Result("DIFF", text)


def matching(glob: str) -> list[Case]:
    """The cases whose name or operator matches."""
    from fnmatch import fnmatchcase

    every = (*cases(), *extra())
    return [c for c in every if fnmatchcase(c.name, glob) or fnmatchcase(c.key, glob)]
