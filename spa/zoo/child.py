"""A process that is watched: how long it runs, how much it holds, whether it is still wanted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spa import _version

LOOK_SECONDS = 0.1
Why = Literal["ended", "timeout", "memory", "stopped"]


@dataclass(frozen=True)
class Ending:
    """How a process ended: by itself with a code (negative: by a signal), or by us."""

    why: Why
    code: int
    seconds: float
    peak: int


def run(
    module: str,
    arguments: Sequence[str],
    *,
    log: Path,
    timeout: float | None,
    memory: int | None,
    lock: int,
    stopped: Callable[[], bool],
) -> Ending:
    """Run a module of Python's and wait for its end.

    Args:
        module: what `python -m` is given.
        arguments: its arguments.
        log: where its words go.
        timeout: seconds after which it is killed.
        memory: resident bytes above which it is killed.
        lock: a descriptor that it shall hold as long as it lives.
        stopped: whether it is to be killed now.
    """
    began = time.monotonic()
    with log.open("ab") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=words,
            env=_environment(os.environ),
            start_new_session=True,
            pass_fds=() if sys.platform == "win32" else (lock,),
        )
    peak = 0
    why: Why = "ended"
    try:
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            late = timeout is not None and time.monotonic() - began > timeout
            large = memory is not None and peak > memory
            if late or large or stopped():
                why = "timeout" if late else "memory" if large else "stopped"
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
    finally:
        _kill(process)
    return Ending(why, process.returncode, time.monotonic() - began, peak)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, in which the same spa is found."""
    home = str(Path(_version.__file__).parents[1])
    paths = [home, *filter(None, given.get("PYTHONPATH", "").split(os.pathsep))]
    return {**given, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started; whatever it was writing lies where nobody looks."""
    if process.poll() is None:
        with suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def resident(pid: int, system: str = sys.platform) -> int:
    """Largest resident size of a process so far, in bytes; 0 where the system does not tell."""
    try:
        if system == "linux":
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
            return 0
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return int(told.stdout) * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def signal_name(code: int) -> str:
    """The name of the signal that a negative exit code stands for."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
