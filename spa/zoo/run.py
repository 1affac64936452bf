"""A whole run: hand the jobs to an engine, gather what comes of them, sum it up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from spa.errors import ReadError, UsageError, install
from spa.reports.zoo import Row, Zoo, is_failure, summarize
from spa.zoo import config, sources, summary
from spa.zoo.deliver import check_summaries, claim_summaries
from spa.zoo.engines import Engine, engine_of
from spa.zoo.model import Begun, Ended, Job, Layout, Listen, deaf

AGAIN_SECONDS = 0.5
"""Pause before models that another run is at are looked at again."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        sources: folders, files, globs, lists and URLs.
        dest: the folder of the results.
        common: options of all models.
        rules: options by glob.
        shard: which share of the models, as i/n.
        engine: who does the work, and `address` where it answers.
        jobs: how many models at once on this machine.
        fail_fast: end with the first failure.
        accepted: what, besides "pruned", is no failure.
    """

    sources: Sequence[str]
    dest: Path
    common: config.Common
    rules: config.Rules = ()
    shard: str | None = None
    engine: str = "local"
    address: str | None = None
    jobs: int = 1
    fail_fast: bool = False
    accepted: Sequence[str] = ("unchanged",)


def zoo(plan: Plan, listen: Listen = deaf) -> Zoo:
    """Prune a zoo and write its summary.

    Raises:
        UsageError, ReadError: nothing can be done as it was asked; nothing was.
    """
    began = time.monotonic()
    jobs = prepared(plan)
    rows: dict[str, Row] = {}
    reused: set[str] = set()
    interrupted = False
    try:
        _gather(plan, jobs, rows, reused, listen)
    except KeyboardInterrupt:
        interrupted = True
    made = summarize(
        rows.values(),
        [job.name for job in jobs if job.name not in rows],
        plan.accepted,
        dest=str(plan.dest),
        shard=plan.shard,
        engine=plan.engine,
        reused=len(reused),
        wall_seconds=round(time.monotonic() - began, 3),
        interrupted=interrupted,
        recipe=config.recipe_of(plan.common),
    )
    summary.write(made, plan.dest)
    return made


def prepared(plan: Plan) -> list[Job]:
    """The jobs of a plan, largest first; everything that can be checked beforehand is."""
    if find_spec("onnxruntime") is None:
        raise ReadError(f"onnxruntime is not installed; install it with {install('cpu', 'gpu')}")
    if plan.engine == "local" and plan.address is not None:
        raise UsageError("--address is where a cluster answers; add --engine dask or ray")
    dest = plan.dest.absolute()
    found = sources.find(plan.sources, dest)
    if plan.shard is not None:
        found = sources.share(found, plan.shard)
    jobs = config.jobs_of(found, plan.common, plan.rules, dest)
    try:
        layout, files = Layout(dest), summary.names(plan.shard)
        check_summaries(layout, files)
        layout.inside.mkdir(parents=True, exist_ok=True)
        claim_summaries(layout, files)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {dest} ({error.strerror}); name another"
        ) from error
    return jobs


def _gather(
    plan: Plan, jobs: Sequence[Job], rows: dict[str, Row], reused: set[str], listen: Listen
) -> None:
    engine = engine_of(
        plan.engine, jobs=plan.jobs, address=plan.address, begun=lambda name: listen(Begun(name))
    )
    try:
        for job, row, known in _answers(engine, jobs):
            rows[job.name] = row
            if known:
                reused.add(job.name)
            listen(Ended(row, known, len(rows), len(jobs)))
            if plan.fail_fast and is_failure(row, plan.accepted):
                engine.stop()
                return
        engine.close()
    except BaseException:
        engine.stop()
        raise


def _answers(engine: Engine, jobs: Sequence[Job]) -> Iterator[tuple[Job, Row, bool]]:
    """Every job once; those that another run holds come up again until they are done."""
    waiting = list(jobs)
    while waiting:
        busy = []
        for job, answer in engine.results(waiting):
            if answer is None:
                busy.append(job)
            else:
                yield job, answer.row, answer.reused
        waiting = busy
        if waiting:
            time.sleep(AGAIN_SECONDS)
