"""The oracles notice sabotage: all edits apply, a few are tried; `make mutants` tries all."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants import probe
from tests.mutants.edit import Edit
from tests.mutants.edits import EDITS, QUICK
from tests.nets import MOTIFS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/checks/mutants.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "checks"))
    return importlib.import_module("mutants")


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_applies(mutants: ModuleType, edit: Edit) -> None:
    for file, source in mutants.sabotaged(edit).items():
        compile(source, file, "exec")
    assert set(edit.by) <= set(MOTIFS)


def test_no_edit_is_there_twice() -> None:
    assert len({e.parts for e in EDITS}) == len({e.what for e in EDITS}) == len(EDITS) >= 40
    assert set(QUICK) <= {e.what for e in EDITS}


@pytest.mark.parametrize("edit", [e for e in EDITS if e.what in QUICK], ids=str)
def test_is_noticed(mutants: ModuleType, edit: Edit) -> None:
    assert mutants.noticed(edit, only=True)


def test_the_tests_that_edits_name_are_there() -> None:
    for file in {name for edit in EDITS for name in edit.tests}:
        assert (ROOT / file).is_file()


def test_nothing_is_noticed_without_an_edit() -> None:
    first = sorted({name for e in EDITS if e.what in QUICK for name in e.by})
    assert not list(probe.failures(first, only=True))
