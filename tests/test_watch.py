"""Limits that reach into libraries: runs without end, memory, and a library that never listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from spa import devices, pipeline, runtime, watch
from spa.cli.limit import limited
from spa.cli.main import run
from spa.errors import LimitError, ReadError
from spa.events import Step, quiet
from spa.zoo import job
from tests.nets.endless import endless

ROOT = Path(__file__).parents[1]
FEEDS = {"x": np.ones((1, 3, 8, 8), np.float32)}


def waiting(callback=quiet):
    """Work in Python that does not end."""
    end = time.monotonic() + 100
    while time.monotonic() < end:
        time.sleep(0.005)
        callback(Step("work"))


@pytest.fixture
def session():
    return runtime.session(endless(), device="cpu")


@pytest.mark.parametrize("optimize", [True, False])
def test_a_run_that_never_ends_is_ended_by_the_limit_of_time(optimize):
    with pytest.raises(LimitError, match=r"the time limit of 0\.3 s"), limited(0.3, quiet):
        runtime.run(runtime.session(endless(), device="cpu", optimize=optimize), FEEDS)


def test_a_run_that_never_ends_is_ended_beside_the_main_thread(session):
    caught = []

    def slow():
        try:
            with limited(0.3, quiet):
                runtime.run(session, FEEDS)
        except LimitError as error:
            caught.append(str(error))

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join()
    assert len(caught) == 1 and "0.3 s was reached" in caught[0]


def test_a_run_that_never_ends_is_ended_without_limits(session, monkeypatch):
    monkeypatch.setattr(watch, "RUN_SECONDS", 0.2)
    with pytest.raises(LimitError, match="one run of the model"), limited(None, quiet):
        runtime.run(session, FEEDS)


def test_timed_runs_are_ended_too(session, monkeypatch):
    monkeypatch.setattr(watch, "held", lambda: 1)
    with pytest.raises(LimitError, match="memory"), limited(None, quiet, memory=1 << 30):
        monkeypatch.setattr(watch, "held", lambda: 3 << 29)
        with runtime.stoppable() as options:
            session.run(None, FEEDS, options)


def test_the_limit_of_memory_ends_work_in_python(monkeypatch):
    monkeypatch.setattr(watch, "held", lambda: 3 << 29)
    with pytest.raises(LimitError, match="of 1 GiB"), limited(None, quiet, memory=1 << 30):
        waiting()


def test_the_limit_of_memory_is_noticed_beside_the_main_thread(monkeypatch):
    monkeypatch.setattr(watch, "held", lambda: 3 << 29)
    caught = []

    def large():
        try:
            with limited(None, quiet, memory=1 << 30) as callback:
                waiting(callback)
        except LimitError as error:
            caught.append(str(error))

    thread = threading.Thread(target=large)
    thread.start()
    thread.join()
    assert len(caught) == 1 and "memory limit" in caught[0]


def test_memory_is_counted():
    before = watch.held()
    if before == 0:
        pytest.skip("this system does not tell")
    array = np.ones(1 << 27, np.uint8)
    after = watch.held()
    assert after - before > 1 << 26 or sys.platform == "darwin"
    assert array.any() and after < 1 << 40


def test_large_models_and_inputs_may_take_longer():
    with watch.watching(watch.Limits(run=30.0), lambda _: None, lambda _: None) as small:
        assert small.seconds_for(10_000_000) == 30.0
        watch.sized(100_000_000)
        watch.sized(5)
        assert small.seconds_for(0) == 40.0
        assert small.seconds_for(10_000) == 1040.0
    with watch.watching(watch.Limits(seconds=3.0), lambda _: None, lambda _: None) as given:
        assert given.seconds_for(0) == np.inf


def test_errors_of_a_run_stay_what_they_are():
    loaded = runtime.session(endless(), device="cpu")
    with limited(60, quiet), pytest.raises(ReadError, match="check the shapes"):
        runtime.run(loaded, {"x": np.ones((1, 2, 8, 8), np.float32)})
    with pytest.raises(ReadError, match="cannot load"), limited(60, quiet):
        runtime.session(b"no model")


@pytest.mark.parametrize("listens", [True, False])
def test_a_session_that_is_being_made_is_asked_where_it_listens(monkeypatch, listens):
    """Before 1.22 onnxruntime does not."""
    asked = []

    class Options:
        def add_session_config_entry(self, *_):
            pass

    if listens:
        Options.set_load_cancellation_flag = lambda self, flag: asked.append(flag)

    def session(*_, **__):
        (call,) = held.calls.values()
        call.end(LimitError("too late"), 0.0)
        asked.append("and no error")
        raise RuntimeError("cancelled")

    fake = SimpleNamespace(SessionOptions=Options, InferenceSession=session)
    monkeypatch.setattr(devices, "library", lambda: fake)
    watching = watch.watching(watch.Limits(), lambda _: None, lambda _: None)
    with watching as held, pytest.raises(LimitError, match="too late"):
        runtime.session(b"model", device="cpu")
    assert asked == [True] * listens + ["and no error"]


STUCK = """
import ctypes, pathlib, signal, sys
from spa import watch
from spa.cli.limit import limited
from spa.events import quiet
from spa.storage import Scratch, drafted
watch.GRACE_SECONDS = 0.3
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # so that nothing wakes the main thread
last = lambda error: print(error, file=sys.stderr, flush=True)
with drafted(pathlib.Path("out.onnx")) as draft:
    (Scratch().path / "x").write_bytes(b"x")
    draft.file.write(b"half")
    with limited(0.2, quiet, last_words=last):
        while True:
            ctypes.CDLL(None).sleep(1000)
"""


@pytest.mark.skipif(os.name != "posix", reason="masks of signals")
def test_a_library_that_does_not_listen_is_left_with_the_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", STUCK]
    ended = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 7
    assert ended.stderr.count("\n") == 1 and "time limit of 0.2 s" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_shell_ends_with_code_7_and_writes_only_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watch, "RUN_SECONDS", 3.0)
    onnx.save(endless(), "net.onnx")
    code = run(["prune", "net.onnx", "-r", "0.3", "-s", "l1", "--report", "r.json", "-q"])
    assert code == 7
    assert "--timeout SECONDS" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "r.json"]
    report = json.loads(Path("r.json").read_text())
    assert report["exit_code"] == 7 and report["input"]["channels"] == 8


@pytest.mark.parametrize("seconds", [None, 60])
def test_the_process_of_a_zoo_ends_a_run_unless_it_has_a_limit(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(watch, "RUN_SECONDS", 0.2)
    stopped = []

    def prune(*_, **__):
        if seconds is None:
            runtime.run(runtime.session(endless(), device="cpu"), FEEDS)
        with watch.over(lambda: stopped.append("asked to end"), 0):
            time.sleep(0.5)  # longer than a run may take, were there no limit of the whole
        return SimpleNamespace(report={"schema_version": 1}, exit_code=0)

    monkeypatch.setattr(pipeline, "prune", prune)
    onnx.save(endless(), tmp_path / "net.onnx")
    report = tmp_path / "r.json"
    order = {
        "name": "net.onnx",
        "source": str(tmp_path / "net.onnx"),
        "sha256": None,
        "recipe": {},
        "known": None,
        "timeout": seconds,
        "output": str(tmp_path / "out.onnx"),
        "looked": str(tmp_path / "looked.json"),
        "report": str(report),
    }
    assert job.carry_out(order) == (7 if seconds is None else 0)
    if seconds is None:
        assert "more than 0 s" in json.loads(report.read_text())["error"]
    assert stopped == []
