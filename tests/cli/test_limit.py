"""The time limit, on the main thread and beside it."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from spa import watch
from spa.cli.limit import limited
from spa.errors import LimitError, ReadError, UsageError
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


def work(seconds, callback=quiet):
    """Spend time in Python steps, as the pipeline does between native calls."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
        callback(Step("work"))


@ways
def test_work_that_is_too_slow_is_stopped(monkeypatch, alarms):
    if not alarms:
        monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(LimitError, match=REACHED), limited(0.05, quiet):
        work(1000)
    monkeypatch.undo()


@ways
def test_work_that_is_fast_enough_is_left_alone(monkeypatch, alarms):
    if not alarms:
        monkeypatch.delattr(signal, "setitimer")
    before = signal.getsignal(signal.SIGALRM)
    with limited(1000, quiet):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert not any(thread.name == "spa-watch" for thread in threading.enumerate())
    monkeypatch.undo()


def test_an_earlier_alarm_is_put_back():
    signal.setitimer(signal.ITIMER_REAL, 100_000)
    with limited(5000, quiet):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 5000
    assert 90_000 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 100_000


def test_a_step_that_swallows_errors_does_not_swallow_the_limit(monkeypatch):
    monkeypatch.setattr(watch, "AGAIN_SECONDS", 0.05)
    with pytest.raises(LimitError, match=REACHED), limited(0.05, quiet):
        try:
            work(1000)
        except BaseException:
            work(1000)


needs_alarms = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")


@needs_alarms
def test_the_limit_is_not_taken_for_an_error_of_a_step():
    with pytest.raises(LimitError), limited(60, quiet):
        try:
            signal.raise_signal(signal.SIGALRM)
        except Exception as error:
            raise ReadError("the model cannot be read") from error


@needs_alarms
def test_the_limit_carries_the_report_of_how_far_the_work_got():
    with pytest.raises(LimitError) as caught, limited(60, quiet):
        try:
            signal.raise_signal(signal.SIGALRM)
        except BaseException as error:
            error.report = {"input": 1}
            raise
    assert caught.value.report == {"input": 1}


@needs_alarms
def test_a_thread_starts_whole_when_the_limit_comes_meanwhile():
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    started = thread._started.wait

    def late(*args):
        signal.raise_signal(signal.SIGALRM)
        return started(*args)

    thread._started.wait = late
    after = False
    with pytest.raises(LimitError), limited(60, quiet):
        thread.start()
        after = True
        work(1000)
    thread.join()
    assert after and ran.is_set()


@needs_alarms
def test_the_limit_is_not_lost_while_an_object_is_taken_apart(monkeypatch):
    class Ringing:
        def __del__(self):
            signal.raise_signal(signal.SIGALRM)

    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    with pytest.raises(LimitError), limited(60, quiet):
        ringing = Ringing()
        del ringing
        work(1000)
    assert not lost


def test_ctrl_c_stays_ctrl_c(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(KeyboardInterrupt), limited(5, quiet):
        raise KeyboardInterrupt
    monkeypatch.undo()


def test_beside_the_main_thread_progress_notices():
    caught, heard = [], []

    def slow():
        try:
            with limited(0.05, heard.append) as callback:
                work(10, callback)
        except LimitError as error:
            caught.append(str(error))

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(caught) == 1 and "0.05 s was reached" in caught[0]
    assert heard and set(heard) == {Step("work")}


def test_no_limit_and_no_nonsense():
    with limited(None, quiet) as callback:
        callback(Step("work"))
    for seconds in (0, -1, float("nan")):
        with pytest.raises(UsageError), limited(seconds, quiet):
            pass


def test_the_command_ends_with_code_7(calls, shell, monkeypatch):
    import spa

    monkeypatch.setattr(spa.pipeline, "inspect", lambda *_: work(1000))
    ran = shell("inspect", "net.onnx", "--timeout", "0.05")
    assert ran.code == 7 and "time limit of 0.05 s" in ran.err
