"""A machine without noise, where weights take time in proportion to their number."""

from __future__ import annotations

import pytest

from spa.pipeline import verdict
from tests.latency.fakes import left_of, machine_of, smooth

QUICK = {"invert": "off", "samples": 32, "device": "cpu", "round_to": 1, "max_layer_ratio": 1.0}
FAST = {**QUICK, "scorer": "l2", "verify": "run"}


TWICE = {
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "runs": 15,
    "before_ms": 1.0,
    "after_ms": 0.5,
    "speedup": 2.0,
    "low": 1.9,
    "high": 2.1,
}
"""What is said of any model that is measured beside its original."""


@pytest.fixture
def steady(monkeypatch, tmp_path):
    """Weights take time in proportion to their number, and nothing else does."""
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    stopwatch = machine_of(monkeypatch, smooth)
    monkeypatch.setattr(verdict, "latency", lambda *each: dict(TWICE))
    return stopwatch


def faster(small, model):
    """How many times as fast the small model is on this machine."""
    return 1 / left_of(model, small)
