"""The time limit, on the main thread and beside it."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from spa.cli import limit
from spa.cli.limit import time_limit
from spa.errors import LimitError, UsageError
from spa.events import Step, quiet

REACHED = r"the time limit of 0\.05 s was reached"
ways = pytest.mark.parametrize("alarms", [True, False])


@pytest.fixture(autouse=True)
def own_timer():
    """Stop the timer of pytest-timeout, which is the same alarm clock."""
    before = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    signal.setitimer(signal.ITIMER_REAL, *before)


def work(seconds, tell=quiet):
    """Spend time in Python steps, as the pipeline does between native calls."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
        tell(Step("work"))


@ways
def test_work_that_is_too_slow_is_stopped(monkeypatch, alarms):
    if not alarms:
        monkeypatch.delattr(signal, "setitimer")
    start = time.monotonic()
    with pytest.raises(LimitError, match=REACHED), time_limit(0.05, quiet):
        work(10)
    assert time.monotonic() - start < 5
    monkeypatch.undo()


@ways
def test_work_that_is_fast_enough_is_left_alone(monkeypatch, alarms):
    if not alarms:
        monkeypatch.delattr(signal, "setitimer")
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(0.1, quiet):
        pass
    time.sleep(0.2)
    assert signal.getsignal(signal.SIGALRM) is before
    monkeypatch.undo()


def test_an_earlier_alarm_is_put_back():
    signal.setitimer(signal.ITIMER_REAL, 100)
    with time_limit(5, quiet):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 5
    assert 90 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 100


def test_a_step_that_swallows_errors_does_not_swallow_the_limit(monkeypatch):
    monkeypatch.setattr(limit, "AGAIN_SECONDS", 0.05)
    with pytest.raises(LimitError, match=REACHED), time_limit(0.05, quiet):
        try:
            work(10)
        except LimitError:
            work(10)


def test_ctrl_c_stays_ctrl_c(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(KeyboardInterrupt), time_limit(5, quiet):
        raise KeyboardInterrupt
    monkeypatch.undo()


def test_beside_the_main_thread_progress_notices():
    caught, heard = [], []

    def slow():
        try:
            with time_limit(0.05, heard.append) as tell:
                work(10, tell)
        except LimitError as error:
            caught.append(str(error))

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(caught) == 1 and "0.05 s was reached" in caught[0]
    assert heard and set(heard) == {Step("work")}


def test_no_limit_and_no_nonsense():
    with time_limit(None, quiet) as tell:
        assert tell is quiet
    for seconds in (0, -1, float("nan")):
        with pytest.raises(UsageError), time_limit(seconds, quiet):
            pass


def test_the_command_ends_with_code_7(calls, shell, monkeypatch):
    import spa

    monkeypatch.setattr(spa.pipeline, "inspect", lambda *_: work(10))
    ran = shell("inspect", "net.onnx", "--timeout", "0.05")
    assert ran.code == 7 and "time limit of 0.05 s" in ran.err
