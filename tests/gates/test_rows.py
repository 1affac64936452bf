"""How well a drop is known, where a check says of how many rows its score is a share."""

from __future__ import annotations

import math
import sys

import pytest

import spa
from spa.check import score
from spa.pipeline.gates import drop_error
from tests.carried import DIGITS

FAST = {"scorer": "l2", "verify": "run", "ratio": 0.3}


def test_the_error_of_a_difference_of_shares():
    both = math.sqrt((0.9 * 0.1 + 0.8 * 0.2) / 400)
    assert drop_error(0.9, 0.8, 400) == pytest.approx(both)
    assert drop_error(1.0, 1.0, 400) == 0
    for unknown in ((None, 0.8, 400), (0.9, None, 400), (0.9, 0.8, None), (91.2, 90.0, 400)):
        assert drop_error(*unknown) is None


@pytest.mark.parametrize(
    ("said", "value", "rows"),
    [
        ("0.91", 0.91, None),
        ("rows=2000 0.91", 0.91, 2000),
        ("top-1 0.91 rows: 2000", 0.91, 2000),
        ("rows=2000", None, 2000),
        ("rows=0 0.5", 0.5, None),
    ],
)
def test_a_command_says_of_how_many(said, value, rows):
    found = score(f"{sys.executable} -c 'print(\"{said}\")' {{model}}", "x")
    assert (found.value, found.rows) == (value, rows)


def test_a_function_says_of_how_many():
    assert score(lambda path: (0.5, 100), "x").rows == 100
    assert score(lambda path: 0.5, "x").rows is None


def answers(*values):
    left = iter(values)
    return lambda path: next(left)


def test_a_drop_within_its_error_of_the_limit_is_a_warning():
    done = spa.prune(DIGITS, check=answers((0.92, 2000), (0.915, 2000)), max_drop=0.01, **FAST)
    assert done["check"]["rows"] == 2000
    assert done["check"]["drop_error"] == pytest.approx(drop_error(0.92, 0.915, 2000))
    assert any("may be above" in words for words in done["warnings"])
    sure = spa.prune(DIGITS, check=answers((0.92, 10**6), (0.915, 10**6)), max_drop=0.01, **FAST)
    assert not any("may be above" in words for words in sure["warnings"])


def test_where_it_cannot_be_told_a_note_says_so():
    done = spa.prune(DIGITS, check=answers(0.92, 0.915), max_drop=0.01, **FAST)
    assert done["check"]["drop_error"] is None
    assert any("cannot be told" in words for words in done["notes"])
