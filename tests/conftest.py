"""What holds for all tests."""

from __future__ import annotations

import math
import signal
import subprocess
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from spa.zoo import child
from tests import warm


def pytest_configure() -> None:
    """Hear interrupts and hang-ups: a shell and nohup let what they start ignore them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN:
        signal.signal(hang_up, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def timed_in_brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies are taken as they come where nothing hangs on them: most of the time goes there."""
    if "latency" not in request.path.name:
        monkeypatch.setattr("spa.validate.latency.SECONDS", 0.05)
        monkeypatch.setattr("spa.validate.latency.WARM", 0.0)


@pytest.fixture
def processes() -> None:
    """For tests that are of processes, which are then started as they are for a user."""


@pytest.fixture(autouse=True)
def started_at_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Processes of a zoo are forked: importing takes longer than all they do."""
    if warm.POSSIBLE and "processes" not in request.fixturenames:
        known = {**vars(subprocess), "Popen": warm.Process}
        monkeypatch.setattr(child, "subprocess", SimpleNamespace(**known))


@pytest.fixture(autouse=True)
def nothing_about_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, no stage takes so long that a log would be told."""
    monkeypatch.setattr("spa.cli.progress.EVERY_SECONDS", math.inf)


@pytest.fixture
def tuned_by_default() -> None:
    """For tests that are of it: it takes up to five minutes where there is torch."""


@pytest.fixture(autouse=True)
def tuned_when_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tuned but what a test asks for."""
    if "tuned_by_default" not in request.fixturenames and find_spec("torch") is not None:
        monkeypatch.setattr("spa.pipeline.heal.installed", lambda: False)
        for command in ("PRUNE", "APPLY", "ZOO"):
            monkeypatch.setenv(f"SPA_{command}_TUNE", "off")


@pytest.fixture(autouse=True)
def inputs_as_made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving inputs by gradients takes minutes; only tests of torch do it, where there is one."""
    if "torch" not in request.path.parts and find_spec("torch") is not None:
        monkeypatch.setattr("spa.pipeline.invert.installed", lambda: False)
        for command in ("PRUNE", "PLAN", "SWEEP", "ZOO"):
            monkeypatch.setenv(f"SPA_{command}_INVERT", "off")
