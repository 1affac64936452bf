"""Processes of spa that need not import anything: a server that has done so forks them.

A process of its own takes a second of imports for a moment of work.  What is started here is
`python -m module ...` in all but that: environment, folder, streams and exit code are its own.
Where the system cannot do it (only Linux can), it is a usual process.

The server is `python -m tests.warm`; it forks for every packet that comes on its standard input,
and ends with whoever started it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from spa import _version

ROOT = Path(_version.__file__).parents[1]
POSSIBLE = sys.platform == "linux"
LARGEST = 1 << 18


class Process:
    """One that was forked, with what callers need of `subprocess.Popen`, and called like it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: IO[bytes],
        stderr: IO[bytes],
        env: Mapping[str, str],
        cwd: str | None = None,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = True,
    ) -> None:
        assert command[:2] == [sys.executable, "-m"] and start_new_session
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        below = os.open(os.devnull, os.O_RDONLY)
        if stdin == subprocess.PIPE:
            os.close(below)
            below, above = os.pipe()
            self.stdin = os.fdopen(above, "wb")
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = [theirs.fileno(), below, stdout.fileno(), stderr.fileno(), *pass_fds]
        asked = {"words": command[2:], "env": dict(env), "cwd": cwd or os.getcwd()}
        socket.send_fds(_server(), [json.dumps(asked).encode()], streams)
        theirs.close()
        os.close(below)
        self.pid = int(self._line.recv(99))

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self.returncode = int(self._line.recv(99))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("", timeout or 0.0) from None
            self._line.close()
        return self.returncode


def run(
    *words: str, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m words ...` to its end."""
    command = [sys.executable, "-m", *words]
    if not POSSIBLE:
        return subprocess.run(
            command, env=env, cwd=cwd, capture_output=True, text=True, check=False
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        place = str(cwd) if cwd else None
        process = Process(command, stdin=0, stdout=out, stderr=err, env=env, cwd=place)
        code = process.wait()
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(command, code, *said)


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.warm"]
    process = subprocess.Popen(command, stdin=theirs, env=env, start_new_session=True)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# What follows is done by the server.


def warm() -> None:
    """Import all of spa that can be."""
    import spa

    for module in pkgutil.walk_packages(spa.__path__, "spa."):
        with suppress(ImportError):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def serve() -> None:
    """Fork for whoever asks; never returns."""
    warm()
    gc.freeze()  # what is not looked at need not be copied
    from spa.validate import latency

    latency.SECONDS, latency.WARM = 0.05, 0.0  # as in `timed_in_brief`
    door = socket.socket(fileno=0)
    while True:
        text, given, _, _ = socket.recv_fds(door, LARGEST, 16)
        if not text:
            os._exit(0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not os.fork():
            break
        for each in given:
            os.close(each)
    os.setsid()
    door.detach()
    line, *streams = given
    if child := os.fork():
        _watch(child, line, streams)
    os.close(line)
    _become(json.loads(text), streams)


def _watch(child: int, line: int, streams: Sequence[int]) -> None:
    """Say the number of a process, and then its exit code; never returns."""
    for each in streams:
        os.close(each)
    os.write(line, str(child).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):  # nobody listens any longer
        os.write(line, str(code).encode())
    os._exit(0)


def _become(asked: dict[str, Any], streams: Sequence[int]) -> None:
    """Be `python -m` with these words; what comes behind the three streams stays open."""
    os.setsid()
    for stream, each in enumerate(streams[:3]):
        os.dup2(each, stream)
        os.close(each)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [each for each in (asked["cwd"], *path) if each]
    importlib.invalidate_caches()
    module, *words = asked["words"]
    sys.argv = [module, *words]
    for name in (module, f"{module}.__main__"):
        sys.modules.pop(name, None)
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)  # taking all apart would take longer


if __name__ == "__main__":
    serve()
