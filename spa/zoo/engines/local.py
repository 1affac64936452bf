"""This machine: a thread per model at work, each of which watches one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from spa.zoo.model import Job
from spa.zoo.work import Answer, Stop, work


class Local:
    """Up to `jobs` models at once."""

    def __init__(self, jobs: int, begun: Callable[[str], None]) -> None:
        """Nothing runs yet."""
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="zoo")
        self._begun = begun

    def results(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer | None]]:
        """Yield every job when it has ended."""
        futures: dict[Future[Answer | None], Job] = {
            self._pool.submit(self._do, job): job for job in jobs
        }
        for future in as_completed(futures):
            yield futures[future], future.result()

    def stop(self) -> None:
        """Kill the processes, and wait until their folders are gone."""
        self._stopped.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Nothing is left to do once all is done."""
        self._pool.shutdown(wait=True)

    def _do(self, job: Job) -> Answer | None:
        if self._stopped.is_set():
            raise Stop
        self._begun(job.name)
        return work(job, self._stopped.is_set)


def connect(*, jobs: int, address: str | None, begun: Callable[[str], None]) -> Local:
    """The engine; there is no address to connect to."""
    return Local(jobs, begun)
