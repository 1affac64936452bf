"""What the rules say, in a file that people can read."""

from __future__ import annotations

import os

import pytest
from onnx import defs

from tests.corpus.extra import extra
from tests.rules.lines import GOLDEN, lines
from tests.rules.test_catalogue import NEWEST


@pytest.mark.golden
def test_rules_say_what_they_said():
    said = lines()
    if os.environ.get("SPA_GOLDEN") == "update":
        GOLDEN.write_text("\n".join(said) + "\n", encoding="utf-8")
    cases = {case.key.rpartition(".")[2] for case in extra()}  # an older onnx has no opset for some
    before = GOLDEN.read_text(encoding="utf-8").splitlines()
    known = [line for line in before if line.partition(":")[0] in cases]
    assert said == known, "refresh with scripts/checks/golden.py if meant"
    assert known == before or defs.onnx_opset_version() < NEWEST
