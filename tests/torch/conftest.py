"""What several tests of training ask for."""

from __future__ import annotations

import pytest


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """One thread, so that the bits are the same again, and a cache that is empty."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(threads)
