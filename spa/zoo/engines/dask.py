"""A Dask cluster whose workers see the destination under the same path.

Dask runs a task again where its worker died.  That is safe here: the task looks into the manifest
first, and the lock of a killed process is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from spa.errors import ReadError, install
from spa.zoo.engines.stopping import StopFile, stoppable
from spa.zoo.model import Job
from spa.zoo.work import Answer

SECONDS_TO_CONNECT = 30


class Dask:
    """A client of a scheduler."""

    def __init__(self, client: Any) -> None:
        """Keep the connection."""
        self._client = client
        self._stop = StopFile()

    def results(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer | None]]:
        """Yield every job when it has ended."""
        from distributed import KilledWorker, as_completed

        stop = self._stop.beside(jobs)
        futures = {
            self._client.submit(stoppable, replace(job, stop=stop), pure=False, priority=-rank): job
            for rank, job in enumerate(jobs)
        }
        for future in as_completed(futures):
            job = futures[future]
            try:
                yield job, future.result()
            except KilledWorker:
                yield job, self._stop.lost(job, "Dask")

    def stop(self) -> None:
        """Tell the workers to end what they do, and disconnect."""
        self._stop.raise_it()
        self._client.close()

    def close(self) -> None:
        """Disconnect; the cluster stays."""
        self._client.close()


def connect(*, jobs: int, address: str | None, begun: Callable[[str], None]) -> Dask:
    """Connect to a scheduler, or start workers on this machine where no address is given.

    Raises:
        ReadError: Dask is missing, or no scheduler answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise ReadError(f"--engine dask needs Dask; install it with {install('dask')}") from error
    try:
        if address is not None:
            return Dask(distributed.Client(address, timeout=SECONDS_TO_CONNECT))
        cluster = distributed.LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address=None
        )
        return Dask(distributed.Client(cluster))
    except (OSError, ValueError) as error:
        raise ReadError(
            f"no Dask scheduler answers at {address} ({error}); check --address"
        ) from error
