"""One line for many node cases: what the rules say, in the style of einsum."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

from spa.graph import read
from spa.rules.explain import line
from tests.corpus.cases import Case, variants
from tests.corpus.extra import extra

GOLDEN = Path(__file__).parents[1] / "golden" / "rules.txt"
OFTEN = "Conv ConvTranspose Einsum Gather Gemm MatMul Pad Reshape Slice Split".split()


def lines() -> list[str]:
    """A line for every operator among our own cases, several for those with many faces."""
    found: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for case in extra():
        if "several" in case.key or counts[case.key] >= (4 if case.key in OFTEN else 1):
            continue
        said = explained(case)
        counts[case.key] += said not in found
        found[said] = None
    return sorted(found)


def explained(case: Case) -> str:
    """The line of a case of which the first input moves, or all if that alone is frozen."""
    first = next(iter(case.arrays))
    every = list(variants(case))
    chosen = [v for v in every if list(v.feeds) == [first]][:1] + every[:1]
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for variant in chosen:
            before, said = said, line(read(variant.model))
            if "frozen:" not in said:
                return said
    return before or said
