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
def nothing_about_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, no stage takes so long that a log would be told."""
    monkeypatch.setattr("spa.cli.progress.EVERY_SECONDS", math.inf)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN:
        signal.signal(hang_up, signal.SIG_DFL)
