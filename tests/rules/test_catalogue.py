"""The list of operators that `spa ops` shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import defs

from spa import rules
from spa.graph.model import FLOW
from spa.rules import standard

ROOT = Path(__file__).parents[2]
CONTRIB = {"com.microsoft"}
NEWEST = 28
"""The opset of the standard that the rules were read against; later operators are frozen."""
UNLISTED = {("", "SimplifiedLayerNormalization"), ("ai.onnx.preview", "FlexAttention")}
"""Known to onnxruntime under the standard's name; and not yet part of the standard."""


@pytest.fixture(scope="module")
def entries():
    return {(e["domain"], e["op"]): e for e in rules.catalogue()}


def test_lists_the_whole_standard_in_order(entries):
    schemas = [s for s in defs.get_all_schemas() if s.domain in ("", "ai.onnx.ml")]
    assert {(s.domain, s.name) for s in schemas if not s.deprecated} <= entries.keys()
    assert list(entries) == sorted(entries)


def test_rules_are_for_operators_that_exist(entries):
    standard = {(s.domain, s.name) for s in defs.get_all_schemas_with_history()}
    ruled = {k for k in rules.RULES if k[0] != FLOW}  # no operators, but borders of bodies
    unknown = {k for k in ruled if k[0] not in CONTRIB and k not in standard | UNLISTED}
    assert not unknown or defs.onnx_opset_version() < NEWEST  # an older onnx has not all of them
    assert ruled <= entries.keys()
    assert rules.REFITS.keys() <= rules.RULES.keys()


def test_every_entry_has_a_status_and_frozen_ones_say_why(entries):
    for entry in entries.values():
        assert entry["status"] in ("ruled", "lossy", "frozen")
        assert entry["note"] or entry["status"] == "ruled"
    assert entries["", "Conv"]["status"] == "ruled"
    assert entries["", "Softmax"]["status"] == "lossy"
    assert entries["", "NonZero"]["status"] == "frozen"


def test_no_operator_is_frozen_without_a_reason_of_its_own(entries):
    later = {(s.domain, s.name) for s in defs.get_all_schemas() if s.since_version > NEWEST}
    silent = {key for key, entry in entries.items() if entry["note"] == standard.UNRULED}
    assert silent <= later


def test_reasons_are_given_once_and_for_operators_that_have_no_rule():
    said = [
        (domain, op)
        for domain, known in standard.listed().items()
        for names in known.values()
        for op in names.split()
    ]
    assert len(set(said)) == len(said)
    assert not set(said) & rules.NOTES.keys()
    assert standard.reasons().keys() == set(said)


def test_what_is_new_in_onnxruntime_is_news():
    """A table for people, whatever version is installed; never a reason to fail."""
    command = [sys.executable, "scripts/checks/ops_news.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.startswith("operators of onnx ") and not said.stderr


def test_importing_the_rules_imports_no_onnx():
    code = "import sys, spa.rules; print('onnx' in sys.modules or 'scipy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_registering_twice_raises():
    with pytest.raises(ValueError, match="Conv is registered twice"):
        rules.rule("Conv")(lambda op: None)
