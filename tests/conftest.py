"""What holds for all tests."""

from __future__ import annotations

import math
import signal

import pytest


def pytest_configure() -> None:
    """Hear interrupts and hang-ups: a shell and nohup let what they start ignore them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def timed_in_brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies are taken as they come where nothing hangs on them: most of the time goes there."""
    if "latency" not in request.path.name:
        monkeypatch.setattr("spa.validate.latency.SECONDS", 0.05)
        monkeypatch.setattr("spa.validate.latency.WARM", 0.0)


@pytest.fixture(autouse=True)
def nothing_about_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, no stage takes so long that a log would be told."""
    monkeypatch.setattr("spa.cli.progress.EVERY_SECONDS", math.inf)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN:
        signal.signal(hang_up, signal.SIG_DFL)
