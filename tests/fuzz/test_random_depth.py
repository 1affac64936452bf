"""Random nets without some of their branches, held against what multiplies these by zero."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from spa.rewrite import bypass
from tests.fuzz.trial import NOWHERE, OK, WRONG, refusals, trial_depth

COUNT = max(64, int(os.environ.get("SPA_FUZZ", "320")))
FIRST = int(os.environ.get("SPA_FUZZ_SEED", "0"))
BATCHES = 4
WITH = 0.4
"""Share of nets that have a branch, at least; measured 0.57."""


def judge(seeds: range) -> None:
    verdicts = [trial_depth(seed) for seed in seeds]
    refusals(verdicts, NOWHERE)
    assert Counter(v.state for v in verdicts)[OK] >= WITH * len(verdicts) - 4


@pytest.mark.fuzz
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_depth(batch: int) -> None:
    judge(range(FIRST + batch, FIRST + COUNT, BATCHES))


def test_a_few_of_them() -> None:
    judge(range(1, 48, 2))  # those in which sizes are symbols: any onnxruntime knows their opsets


def test_a_sum_that_becomes_the_wrong_operand_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial itself: taking the branch for the shortcut is no bypass."""
    take_the_branch(monkeypatch)
    assert any(trial_depth(seed).state == WRONG for seed in range(1, 24, 2))


def take_the_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a sum becomes what its branch makes."""
    real = bypass.bypassed

    def wrong(graph, branches):
        return real(graph, [swapped(each) for each in branches])

    monkeypatch.setattr("tests.fuzz.trial.bypassed", wrong)


def swapped(branch):
    return replace(branch, shortcut=branch.end, end=branch.shortcut, nodes=frozenset())
