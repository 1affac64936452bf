"""op(select(x)) == select(op(mask(x))) for a sample of the node tests of onnx, and our own."""

from __future__ import annotations

import os

import onnx
import pytest

from spa.rules import NOTES
from tests.corpus import sweep
from tests.corpus.extra import extra

pytestmark = pytest.mark.corpus

SOMETIMES = {
    "BatchNormalization",
    "Conv",
    "Dropout",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
}
"""Operators that are lossy in rare uses only, which their notes say."""

SIZES = {"ConstantOfShape", "Range"}
"""Operators that have no channels: they make tensors to size."""


@pytest.fixture(scope="module")
def table() -> sweep.Table:
    return sweep.sample()


def test_every_square_commutes(table):
    assert not table.failures, "\n".join(table.failures[:20])


@pytest.mark.golden
def test_what_was_exercised_still_is(table):
    now = sweep.exercised(table)
    if os.environ.get("SPA_GOLDEN") == "update":
        sweep.GOLDEN.write_text("\n".join(now) + "\n", encoding="utf-8")
    before = sweep.GOLDEN.read_text(encoding="utf-8").splitlines()
    if before[0] != f"# onnx {onnx.__version__}":
        pytest.skip(f"{before[0][2:]} has other node tests")
    assert now == before, "refresh with scripts/checks/golden.py if meant"


def test_our_own_cases_run(table):
    keys = {case.key for case in extra()}
    idle = [k for k in keys if table.counts[k]["unsupported"] > table.counts[k]["ok"] > 0]
    assert not idle


def test_lossy_is_what_says_so(table):
    wrong = []
    for key, counts in table.counts.items():
        domain, _, op = key.rpartition(".")
        status, _ = NOTES.get((domain, op), ("", ""))
        wrong += [f"{key} is never lossy"] if status == "lossy" and not counts["lossy"] else []
        wrong += [f"{key} is not frozen"] if status == "frozen" and counts["ok"] else []
        if status == "ruled" and op not in SIZES:
            wrong += [] if counts["ok"] else [f"{key} is never exact"]
            wrong += [f"{key} is lossy"] if counts["lossy"] and op not in SOMETIMES else []
    assert not wrong
