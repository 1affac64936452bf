"""A few of the kills that scripts/checks/kills.py makes by the hundred."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_no_kill_and_no_full_disk_loses_a_file(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "checks"))
    import kills

    made = kills.torment(kills=8, fills=1, seed=5)
    assert made.wrong == []
    assert sum(made.counts[kind] for kind in ("new", "none", "old")) == 10
