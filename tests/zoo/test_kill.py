"""Accidents: runs and workers are killed, interrupted, doubled; what comes out is the same."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.zoo.samples import (
    QUICK,
    build,
    end,
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
SLOWER = (*QUICK[:-1], "run")  # long enough to be hit


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run without accidents comes to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    end(start(build(folder / "models"), "-d", folder / "out", *SLOWER, "-q"))
    return outcome(folder / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up_and_is_taken_up_again(models, undisturbed, number):
    run = start(models, "-d", "out", *SLOWER, "--jobs", 2)
    until(lambda: len(workers("out")) == 2)
    run.send_signal(number)
    assert "interrupted" in end(run, 130)
    assert workers("out") == [] and partial("out") == []
    made = summary("out")
    assert made["status"] == "interrupted" and made["exit_code"] == 130 and made["pending"]
    end(start(models, "-d", "out", *SLOWER))
    assert outcome("out") == undisturbed


def test_a_killed_run_leaves_no_workers_and_is_taken_up_again(models, undisturbed):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    for _ in range(4):
        run = start(models, "-d", "out", *SLOWER, "--jobs", 2)
        time.sleep(chance.uniform(0.3, 2.5))
        run.kill()
        run.communicate()
        until(lambda: workers("out") == [])
    end(start(models, "-d", "out", *SLOWER))
    assert outcome("out") == undisturbed, f"seed {seed}"
    assert partial("out") == []
    done = [line["name"] for line in lines("out")]
    assert len(done) == len(set(done)) == 3, f"seed {seed}: {done}"


def test_a_killed_worker_hurts_its_model_alone_which_is_tried_again(models, undisturbed):
    run = start(models, "-d", "out", *SLOWER)
    until(lambda: workers("out"))
    os.kill(workers("out")[0], signal.SIGKILL)
    end(run)
    assert outcome("out") == undisturbed
    assert sorted(row["attempts"] for row in summary("out")["models"]) == [1, 1, 2]


def test_a_model_that_crashes_every_time_is_told_and_tried_by_the_next_run(models, undisturbed):
    run = start(models, "-d", "out", *SLOWER, "--retries", 0)
    until(lambda: workers("out"))
    os.kill(workers("out")[0], signal.SIGSEGV)
    end(run, 6)
    made = summary("out")
    assert made["totals"]["crashed"] == 1 and made["totals"]["pruned"] == 2
    crashed = next(row for row in made["models"] if row["status"] == "crashed")
    assert "SIGSEGV" in crashed["error"] and partial("out") == []
    end(start(models, "-d", "out", *SLOWER, "--retries", 0))
    assert outcome("out") == undisturbed and len(lines("out")) == 4


def test_two_runs_share_the_work(models):
    for k in range(3):
        save(models / f"more{k}.onnx", 20 + k)
    runs = [start(models, "-d", "out", *SLOWER, "--jobs", 2) for _ in range(2)]
    for run in runs:
        end(run)
    done = [line["name"] for line in lines("out")]
    assert len(done) == len(set(done)) == 6 and partial("out") == []
    assert summary("out")["totals"]["pruned"] == 6


def test_half_a_line_is_no_obstacle(models, undisturbed):
    end(start(models, "-d", "out", *SLOWER))
    manifest = Path("out/.zoo/manifest.jsonl")
    manifest.write_bytes(manifest.read_bytes()[:-200])
    end(start(models, "-d", "out", *SLOWER))
    assert outcome("out") == undisturbed and summary("out")["reused"] == 2
