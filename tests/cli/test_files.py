"""No run destroys what it reads, whatever its options say; and none ends without a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import spa
from spa.errors import UsageError
from tests.carried import DIGITS

ROOT = Path(__file__).parents[2]
QUICK = ("-r", "0.3", "-s", "l1", "--verify", "none", "--force")


@pytest.fixture
def pair():
    """A model with its data beside it, inputs, a plan and a file of scores."""
    model = onnx.load(DIGITS)
    how = {"save_as_external_data": True, "location": "m.json", "size_threshold": 0}
    onnx.save_model(model, "m.onnx", **how)
    chance = np.random.default_rng(0)
    np.save("inputs.npy", chance.normal(size=(40, 1, 8, 8)).astype(np.float32))
    spa.plan("m.onnx", 0.3, scorer="l1").save("plan.json")
    scores = {t.name: onnx.numpy_helper.to_array(t) ** 2 for t in model.graph.initializer}
    np.savez("scores.npz", **scores)
    os.link("m.json", "hard.json")
    os.symlink("m.json", "soft.json")
    os.link("m.onnx", "hard.onnx")
    os.symlink("m.onnx", "soft.onnx")
    os.mkdir("there")
    os.symlink(os.getcwd(), "there/back")
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()}


def files():
    return [path for path in sorted(Path().iterdir()) if path.is_file()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune", "m.onnx", "-o", "m.onnx"], "m.onnx is the input"),
        (["prune", "m.onnx", "-o", "hard.onnx"], "hard.onnx is the input"),
        (["prune", "m.onnx", "-o", "soft.onnx"], "soft.onnx is the input"),
        (["prune", "m.onnx", "-o", "there/back/m.onnx"], "m.onnx is the input"),
        (["prune", "soft.onnx", "-o", "hard.onnx"], "hard.onnx is the input"),
        (["prune", "m.onnx", "-o", "m.json"], "m.json is a data file of the input"),
        (["prune", "m.onnx", "--report", "m.json"], "m.json is a data file of the input"),
        (["prune", "m.onnx", "--report", "hard.json"], "hard.json is a data file of the input"),
        (["prune", "m.onnx", "--report", "soft.json"], "soft.json is a data file of the input"),
        (["inspect", "m.onnx", "--report", "m.json"], "m.json is a data file of the input"),
        (["verify", "m.onnx", "hard.onnx", "--report", "m.json"], "is a data file of the input"),
        (["prune", "m.onnx", "--plan", "plan.json", "--report", "plan.json"], "is the plan"),
        (["apply", "m.onnx", "plan.json", "-o", "plan.json"], "plan.json is the plan"),
        (["plan", "m.onnx", "-o", "m.json"], "m.json is a data file of the input"),
        (["prune", "m.onnx", "--calib", "inputs.npy", "-o", "inputs.npy"], "an input of --calib"),
        (["prune", "m.onnx", "--calib", ".", "-o", "inputs.npy"], "an input of --calib"),
        (["prune", "m.onnx", "--saliency", "scores.npz", "-o", "scores.npz"], "of --saliency"),
        (["sweep", "m.onnx", "--ratios", "0.2", "--csv", "m.json"], "is a data file of the input"),
        (["sweep", "m.onnx", "--ratios", "0.2", "--plot", "m.onnx"], "m.onnx is the input"),
        (["prune", "m.onnx", "-o", "o.onnx", "--report", "./x.json", "--report", "X.json"], "two"),
    ],
)
def test_what_is_read_is_never_written(shell, pair, words, said):
    forced = [] if words[0] in ("inspect", "verify") else ["--force"]
    ratio = ["-r", "0.3"] if words[0] in ("prune", "plan") and "--plan" not in words else []
    ran = shell(*words, *ratio, *forced)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()} == pair


def test_a_failed_run_reports_nowhere_else_either(shell, pair):
    """The report of a failure must not go where that of a success may not."""
    ran = shell("prune", "m.onnx", "--report", "m.json", "--calib", "absent", *QUICK)
    assert ran.code == 2 and "m.json is a data file" in ran.err
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()} == pair


def test_python_refuses_the_same(pair):
    quick = {"scorer": "l1", "verify": "none"}
    for output in ("hard.onnx", "m.json", "soft.json"):
        with pytest.raises(UsageError, match="never changed"):
            spa.prune("m.onnx", 0.3, output=output, force=True, **quick)
    made = spa.apply("m.onnx", "plan.json", verify="none")
    for output in ("m.onnx", "m.json", "hard.json", "plan.json"):
        with pytest.raises(UsageError, match="never changed"):
            made.save(output, force=True)
    with pytest.raises(UsageError, match="an input and is never changed"):
        spa.prune("m.onnx", 0.3, saliency="scores.npz", verify="none").save(
            "scores.npz", force=True
        )
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()} == pair


def test_another_name_is_no_obstacle(shell, pair):
    ran = shell("prune", "m.onnx", "-o", "n.onnx", "--report", "n.json", *QUICK)
    assert ran.code == 0, ran.err
    onnx.checker.check_model("n.onnx")


@pytest.mark.parametrize("place", ["/dev/null", "/dev/stdout", "pipe", "there"])
def test_what_is_no_file_is_never_replaced(shell, pair, place):
    os.mkfifo("pipe")
    kinds = {name: Path(name).stat().st_mode for name in (place,)}
    ran = shell("prune", "m.onnx", "-o", place, *QUICK)
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert "is a" in ran.err and {name: Path(name).stat().st_mode for name in (place,)} == kinds


# How runs end


def process(*words, **how):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, **how
    )


ASKED = """
import os, sys, time
import spa.pipeline
def wait(*_, **__):
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(60)
spa.pipeline.prune = wait
from spa.cli.main import main
main(["prune", "m.onnx", "-r", "0.3"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_request_to_end_is_an_interrupt(pair, number):
    ran = process("-c", ASKED, str(int(number)))
    assert (ran.returncode, ran.stderr) == (130, "spa: error: interrupted\n")
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()} == pair


def test_handlers_of_signals_are_put_back(shell, pair):
    before = signal.getsignal(signal.SIGTERM)
    assert shell("inspect", "m.onnx", "-q").code == 0
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
@pytest.mark.parametrize(
    "words", [("inspect", "m.onnx"), ("prune", "m.onnx", "-o", "-", *QUICK), ("ops",), ("--help",)]
)
def test_standard_output_without_room_is_one_sentence(pair, words):
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("PYTHONUNBUFFERED", None)  # under which less is left for the end
        ran = subprocess.run(
            [sys.executable, "-m", "spa", *words],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    assert ran.returncode == 2 and ran.stderr.splitlines()[-1] == (
        "spa: error: cannot write (No space left on device); make room there, or choose another"
        " place"
    )


def test_a_log_is_told_on_standard_error_alone(shell, pair, monkeypatch):
    monkeypatch.setattr("spa.cli.progress.EVERY_SECONDS", 0.0)
    words = ("prune", "m.onnx", "-r", "0.3", "--dry-run", "--verify", "none", "--json")
    os.unlink("hard.json")  # onnx reads no data with two names
    ran = shell(*words, "--calib", "inputs.npy")
    assert json.loads(ran.out)["status"] == "dry-run"
    assert "score 1/" in ran.err and " sites" in ran.err and "reconstruct " in ran.err
    assert shell(*words, "-q").err == ""
