"""A Ray cluster whose nodes see the destination under the same path.

Ray runs a task again where its worker died.  That is safe here: the task looks into the manifest
first, and the lock of a killed process is gone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from spa.errors import ReadError, install
from spa.zoo.engines.stopping import StopFile, stoppable
from spa.zoo.model import Job
from spa.zoo.work import Answer

SECONDS_TO_CONNECT = 10
LOST_WORKERS = 3  # of one model before it counts as crashed


class Ray:
    """A connection to a cluster; every model takes one of its processors."""

    def __init__(self, ray: Any) -> None:
        """Keep the module, which is the connection."""
        self._ray = ray
        self._stop = StopFile()

    def results(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer | None]]:
        """Yield every job when it has ended."""
        stop = self._stop.beside(jobs)
        task = self._ray.remote(num_cpus=1, max_retries=LOST_WORKERS)(stoppable)
        futures = {task.remote(replace(job, stop=stop)): job for job in jobs}
        waiting = list(futures)
        while waiting:
            ended, waiting = self._ray.wait(waiting)
            for future in ended:
                job = futures[future]
                try:
                    yield job, self._ray.get(future)
                except self._ray.exceptions.RayTaskError:
                    raise  # a bug of ours, which must be seen
                except self._ray.exceptions.RayError:
                    yield job, self._stop.lost(job, "Ray")

    def stop(self) -> None:
        """Tell the workers to end what they do, and disconnect."""
        self._stop.raise_it()
        self._ray.shutdown()

    def close(self) -> None:
        """Disconnect; the cluster stays."""
        self._ray.shutdown()


def connect(*, jobs: int, address: str | None, begun: Callable[[str], None]) -> Ray:
    """Connect to a head, or start workers on this machine where no address is given.

    Raises:
        ReadError: Ray is missing, or no head answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ReadError(f"--engine ray needs Ray; install it with {install('ray')}") from error
    said: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        said |= {"num_cpus": jobs, "include_dashboard": False}
    try:
        _knock(address)
        ray.init(address=address, **said)
    except (OSError, ValueError, RuntimeError) as error:
        raise ReadError(f"no Ray head answers at {address} ({error}); check --address") from error
    return Ray(ray)


def _knock(address: str | None) -> None:
    """Ray tries for minutes to reach a head; a door that stays shut says at once that none is."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
