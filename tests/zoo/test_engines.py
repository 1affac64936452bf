"""Clusters, for real: a scheduler and workers on this machine, one of which is killed."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.zoo.samples import (
    QUICK,
    build,
    end,
    environment,
    lines,
    outcome,
    partial,
    save,
    start,
    summary,
    until,
    workers,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc"),
]
SLOWER = (*QUICK[:-1], "run")


@pytest.fixture
def zoo(tmp_path):
    """Six models, and what they come to on this machine."""
    folder = build(tmp_path / "models")
    for k in range(3):
        save(folder / f"more{k}.onnx", 20 + k)
    end(start(folder, "-d", "here", *SLOWER, "-q"))
    return folder, outcome("here")


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def family(root):
    """A process and all below it."""
    known = [root]
    for pid in known:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(OSError):
                known += map(int, (task / "children").read_text().split())
    return known


def spawned(stack, *words):
    """A process, with all that it starts, that ends with the test."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = subprocess.Popen(words, env=environment(), start_new_session=True, **quiet)

    def finish():
        for pid in family(made.pid):  # some of it leads groups of its own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        made.wait()

    stack.callback(finish)
    return made


def listens(port):
    with socket.socket() as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def dask():
    pytest.importorskip("distributed")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        call = (sys.executable, "-m", "distributed.cli.dask_scheduler")
        spawned(stack, *call, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        until(lambda: listens(port))
        call = (sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard")
        for _ in range(2):
            spawned(stack, *call, "--nthreads", "1", "--nworkers", "1")
        yield address


@pytest.fixture
def ray(monkeypatch):
    """A head with a token of its own, so that it is ours and nobody else's."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    port = free_port()
    call = (sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block")
    place = ("--port", str(port), "--num-cpus", "2", "--include-dashboard", "false")
    with ExitStack() as stack:
        spawned(stack, *call, *place, "--disable-usage-stats")
        until(lambda: listens(port))
        yield f"127.0.0.1:{port}"


@pytest.fixture(params=["dask", "ray"])
def cluster(request):
    return request.param, request.getfixturevalue(request.param)


def test_a_cluster_does_the_same_though_a_worker_is_killed(cluster, zoo):
    folder, expected = zoo
    engine, address = cluster
    words = (folder, "-d", "out", *SLOWER, "--engine", engine, "--address", address)
    run = start(*words)
    until(lambda: lines("out") and workers("out"))
    os.kill(parent(workers("out")[0]), signal.SIGKILL)
    end(run)
    assert outcome("out") == expected and partial("out") == []
    done = [line["name"] for line in lines("out")]
    assert len(done) == len(set(done)) == 6
    assert summary("out")["engine"] == engine
    end(start(*words))
    assert summary("out")["reused"] == 6


def test_an_interrupted_run_ends_its_work_on_the_cluster(cluster, zoo):
    folder, expected = zoo
    engine, address = cluster
    words = (folder, "-d", "out", *SLOWER, "--engine", engine, "--address", address)
    run = start(*words)
    until(lambda: workers("out"))
    run.send_signal(signal.SIGINT)
    end(run, 130)
    until(lambda: not workers("out"), 15)
    assert len(lines("out")) < 6
    end(start(*words))
    assert outcome("out") == expected and partial("out") == []


@pytest.mark.parametrize(
    ("engine", "address"), [("dask", "tcp://127.0.0.1:9"), ("ray", "127.0.0.1:9")]
)
def test_a_cluster_that_does_not_answer_is_one_sentence(models, engine, address):
    pytest.importorskip("distributed" if engine == "dask" else "ray")
    run = start(models, "-d", "out", *QUICK, "--engine", engine, "--address", address)
    said = end(run, 3)
    assert "check --address" in said.splitlines()[-1] and "Traceback" not in said
