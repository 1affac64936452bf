"""A command in a process of its own, with a limit on time and on memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PARTS = Path(__file__).resolve().parents[1]  # where `python -m zoo.x` finds this package
ROOT = PARTS.parents[1]


@dataclass(frozen=True)
class Limits:
    """What one command may take: seconds, GiB of memory, threads."""

    seconds: float = 150.0
    memory: float = 4.0
    threads: int = 1


@dataclass(frozen=True)
class Done:
    """How a command ended; `code` is None when it took too long."""

    code: int | None
    out: str
    err: str
    seconds: float

    def complaint(self, limits: Limits) -> str:
        """Why there is no result, in one line."""
        if self.code is None:
            return f"took longer than {limits.seconds:g} s"
        lines = [line for line in self.err.strip().splitlines() if line.strip()]
        if self.code < 0:
            return f"ended by signal {-self.code}" + (f": {lines[-1][:120]}" if lines else "")
        return lines[-1][:240] if lines else f"ended with code {self.code}"


def run(command: Sequence[str], limits: Limits, folder: Path) -> Done:
    """Run a command in a folder; what it has started ends with it.

    An installed spa, or one named by PYTHONPATH, comes before the one beside this script.
    """
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT), str(PARTS)]
    env = {
        **os.environ,
        **dict.fromkeys(THREADS, str(limits.threads)),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "NO_COLOR": "1",
    }
    size = int(limits.memory * 2**30)

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))

    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        preexec_fn=confine,
    ) as child:  # fmt: skip
        try:
            out, err = child.communicate(timeout=limits.seconds)
            code: int | None = child.returncode
        except subprocess.TimeoutExpired:
            code, out, err = None, "", ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return Done(code, out, err, time.perf_counter() - began)


def ask(command: Sequence[str], limits: Limits, folder: Path) -> dict[str, Any]:
    """Run a command whose last line of output is a JSON object; a failure is `{"error": why}`."""
    done = run(command, limits, folder)
    last = done.out.strip().rsplit("\n", 1)[-1]
    if done.code == 0 and last.startswith("{"):
        found: dict[str, Any] = json.loads(last)
    else:
        found = {"error": done.complaint(limits)}
    return {**found, "wall": round(done.seconds, 3)}
