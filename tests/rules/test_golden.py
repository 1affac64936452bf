"""What the rules say, in a file that people can read."""

from __future__ import annotations

import os

import pytest

from tests.rules.lines import GOLDEN, lines


@pytest.mark.golden
def test_rules_say_what_they_said():
    said = "\n".join(lines()) + "\n"
    if os.environ.get("SPA_GOLDEN") == "update":
        GOLDEN.write_text(said, encoding="utf-8")
    assert said == GOLDEN.read_text(encoding="utf-8"), "refresh with scripts/golden.py if meant"
