"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Hear interrupts: a shell lets what it starts in the background ignore them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
