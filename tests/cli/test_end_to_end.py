"""The whole tool, from the command line to the files: nothing is stood in for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

import spa.pipeline
from spa import runtime
from spa.cli.main import run
from tests.carried import DIGITS
from tests.nets import MOTIFS
from tests.nets.layers import products
from tests.reports.valid import validate

ROOT = Path(__file__).parents[2]
QUICK = ("--verify", "none")


@pytest.fixture(autouse=True)
def weights_only(monkeypatch):
    """Cut by weights alone, whatever the default is: quick, and held to the masked original."""
    monkeypatch.setenv("SPA_PRUNE_SCORER", "l2")
    monkeypatch.setenv("SPA_PLAN_SCORER", "l2")


@pytest.fixture
def model():
    """The digits model under a name of its own, in the folder of the test."""
    Path("net.onnx").write_bytes(DIGITS.read_bytes())
    return "net.onnx"


def left_behind():
    return sorted(str(p) for p in Path().rglob("*"))


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def report_of(ran):
    report = json.loads(ran.out)
    assert validate(report) == [] and report["exit_code"] == ran.code
    return report


def process(*argv, stdin=None, **options):
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-m", "spa", *map(str, argv)]
    return subprocess.run(
        command, input=stdin, capture_output=True, env=environment, timeout=600, **options
    )


def stdin(monkeypatch, data):
    fake = types.SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", fake)


# prune


def test_a_report_says_what_was_typed_and_written_and_is_a_config(model, shell):
    Path("spa.toml").write_text("ratio = 0.4\nround-to = 1\nseed = 3\n")
    typed = ["prune", model, "--config", "spa.toml", "--report", "r.json", "-q"]
    assert shell(*typed).code == 0
    report = json.loads(Path("r.json").read_text())
    assert validate(report) == [] and report["command_line"] == ["spa", *typed]
    assert report["recipe"]["ratio"] == 0.4 and report["recipe"]["scorer"] == "l2"
    made, told = report["files"]
    assert (made["kind"], made["path"], made["sha256"]) == (
        "model", "net.spa.onnx", digest("net.spa.onnx")
    )  # fmt: skip
    assert made["bytes"] == Path("net.spa.onnx").stat().st_size
    assert (told["kind"], told["path"]) == ("report", "r.json")
    assert shell("prune", model, "--config", "r.json", "-o", "again.onnx", "-q").code == 0
    assert digest("again.onnx") == digest("net.spa.onnx")
    assert shell("plan", model, "--config", "r.json", "-o", "p.json", "--json").code == 0
    assert shell("prune", model, "--config", "p.json", "-o", "third.onnx", "-q").code == 0
    assert digest("third.onnx") == digest("net.spa.onnx")


def test_prune_leaves_a_model_beside_the_input_and_nothing_else(model, shell):
    before = digest(model)
    ran = shell("prune", model, "-r", "0.4")
    assert ran.code == 0 and ran.err == ""
    assert left_behind() == ["net.onnx", "net.spa.onnx"]
    assert digest(model) == before
    assert "Original" in ran.out and "net.spa.onnx" in ran.out and "Traceback" not in ran.out
    small = onnx.load("net.spa.onnx")
    onnx.checker.check_model(small, full_check=True)
    images = np.zeros((3, 1, 8, 8), np.float32)
    assert runtime.session("net.spa.onnx").run(None, {"images": images})[0].shape == (3, 10)
    found = {p.key: p.value for p in small.metadata_props}
    assert found["spa.source_sha256"] == before
    assert len(found["spa.plan_sha256"]) == 64 and found["spa.version"]
    old = onnx.load(model)
    names = [n.name for n in old.graph.node if n.op_type != "Identity"]
    assert [n.name for n in small.graph.node] == names
    assert {t.name for t in small.graph.initializer} == {t.name for t in old.graph.initializer}


def test_the_report_in_every_format(model, shell):
    files = [f"r.{suffix}" for suffix in ("json", "html", "md", "xml")]
    argv = [word for file in files for word in ("--report", file)]
    ran = shell("prune", model, "-r", "0.4", "--max-drift", "9", *argv, "--json")
    report = report_of(ran)
    assert json.loads(Path("r.json").read_text()) == report
    assert report["output"]["sha256"] == digest("net.spa.onnx")
    assert report["output"]["bytes"] == Path("net.spa.onnx").stat().st_size
    assert report["reduction"]["bytes"] == pytest.approx(
        1 - report["output"]["bytes"] / report["input"]["bytes"]
    )
    page = Path("r.html").read_text()
    HTMLParser().feed(page)
    assert page.startswith("<!") and not re.search(r"\b(src|href)=", page), "one file, no links"
    text = Path("r.md").read_text()
    suite = ElementTree.parse("r.xml").getroot()
    assert suite.tag in ("testsuite", "testsuites") and not list(suite.iter("failure"))
    for words in (page, text):
        assert "stem.conv.weight" in words and "net.onnx" in words
        assert f"{report['output']['macs'] / 1000:.2f} k" in words


@pytest.mark.parametrize("suffix", ["json", "html", "md", "xml"])
def test_one_report_alone(model, shell, suffix):
    ran = shell("prune", model, "-r", "0.4", *QUICK, "--report", f"r.{suffix}", "-q")
    assert ran.code == 0 and (ran.out, ran.err) == ("", "")
    assert left_behind() == ["net.onnx", "net.spa.onnx", f"r.{suffix}"]


def test_a_dry_run_writes_no_model(model, shell):
    ran = shell("prune", model, "-r", "0.4", "--dry-run", "--json")
    report = report_of(ran)
    assert report["status"] == "dry-run" and report["verify"]["passed"]
    assert report["output"]["path"] is None and left_behind() == ["net.onnx"]


def test_an_existing_output_needs_force(model, shell):
    Path("net.spa.onnx").write_text("mine")
    ran = shell("prune", model, "-r", "0.4", *QUICK)
    assert ran.code == 2 and "--force" in ran.err and Path("net.spa.onnx").read_text() == "mine"
    assert shell("prune", model, "-r", "0.4", *QUICK, "--force").code == 0
    onnx.load("net.spa.onnx")


def test_two_runs_give_the_same_bytes(model):
    """In two processes, whose hashes of strings differ."""
    for seed in "1", "2":
        argv = ("prune", model, "-r", "0.4", "-o", f"{seed}.onnx", "-s", "random", *QUICK, "-q")
        done = process(*argv, env={"PYTHONHASHSEED": seed})
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert digest("1.onnx") == digest("2.onnx")


def test_options_from_the_environment(model, shell, monkeypatch):
    monkeypatch.setenv("SPA_PRUNE_RATIO", "0.3")
    monkeypatch.setenv("SPA_PRUNE_OF", "params")
    monkeypatch.setenv("SPA_PRUNE_VERIFY", "none")
    report = report_of(shell("prune", model, "--json"))
    assert 0.3 <= report["reduction"]["params"] <= 0.31 and report["verify"] is None


def test_a_model_with_another_name_for_everything(shell):
    """Spaces, umlauts and brackets in paths."""
    folder = Path("mödel [1] & co")
    folder.mkdir()
    (folder / "nét.onnx").write_bytes(DIGITS.read_bytes())
    ran = shell("prune", folder / "nét.onnx", "-r", "0.4", *QUICK, "--report", folder / "r.html")
    assert ran.code == 0, ran.err
    assert sorted(p.name for p in folder.iterdir()) == ["nét.onnx", "nét.spa.onnx", "r.html"]


def test_external_data_beside_the_output(shell):
    weights = onnx.load(DIGITS)
    onnx.save_model(weights, "net.onnx", save_as_external_data=True, location="w", size_threshold=0)
    before = digest("net.onnx"), digest("w")
    ran = shell("prune", "net.onnx", "-r", "0.4", "--json", "-q")
    assert report_of(ran)["output"]["bytes"] == sum(
        p.stat().st_size for p in Path().glob("net.spa.*")
    )
    data = f"net.spa.{digest(next(Path().glob('net.spa.*.data')))[:12]}.data"
    assert left_behind() == sorted(["net.onnx", "net.spa.onnx", data, "w"])
    assert (digest("net.onnx"), digest("w")) == before
    images = np.zeros((1, 1, 8, 8), np.float32)
    assert runtime.session("net.spa.onnx").run(None, {"images": images})[0].shape == (1, 10)


def test_external_data_with_a_second_hard_link(shell):
    """Its bytes are read whoever else may hold them, also to refit what reads what was cut."""
    net = products(8, 16, 4, batch="N")
    onnx.save_model(net, "net.onnx", save_as_external_data=True, location="w", size_threshold=0)
    os.link("w", "kept")
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.standard_normal((64, 8)).astype(np.float32))
    ran = shell("prune", "net.onnx", "-r", "0.4", "--calib", "x.npy", "--scorer", "obspa")
    assert ran.code == 0, ran.err


# Streams


def test_through_a_pipe(model):
    """Bytes in, bytes out; words go to stderr and the report to a file."""
    data = Path(model).read_bytes()
    done = process("prune", "-", "-r", "0.4", *QUICK, "--report", "r.json", stdin=data)
    assert done.returncode == 0 and b"Original" in done.stderr
    small = onnx.load_from_string(done.stdout)
    assert len(small.graph.node) > 10
    report = json.loads(Path("r.json").read_text())
    assert report["output"]["path"] == "-" and report["output"]["bytes"] == len(done.stdout)
    assert report["output"]["sha256"] == hashlib.sha256(done.stdout).hexdigest()
    assert report["input"]["path"] is None or report["input"]["path"] == "-"
    assert left_behind() == ["net.onnx", "r.json"]


def test_stdin_to_a_file_and_a_file_to_stdout(model, monkeypatch, capsysbinary):
    stdin(monkeypatch, Path(model).read_bytes())
    assert run(["prune", "-", "-r", "0.4", *QUICK, "-o", "a.onnx", "-q"]) == 0
    assert run(["prune", model, "-r", "0.4", *QUICK, "-o", "-", "-q"]) == 0
    out, err = capsysbinary.readouterr()
    assert err == b"" and len(onnx.load_from_string(out).graph.node) > 10
    for name in ("a.onnx",):
        assert len(onnx.load(name).graph.initializer) == len(
            onnx.load_from_string(out).graph.initializer
        )


# The other commands


def test_plan_apply_verify_bench(model, shell):
    ran = shell("plan", model, "-r", "0.4", "-o", "p.json", "--json")
    planned = report_of(ran)
    assert planned["command"] == "plan" and planned["output"]["path"] is None
    text = Path("p.json").read_text()
    assert shell("plan", model, "-r", "0.4", "-o", "-", "-q").out == text
    assert shell("prune", model, "-r", "0.4", "-q").code == 0
    ran = shell("apply", model, "p.json", "-o", "applied.onnx", "--json")
    applied = report_of(ran)
    assert applied["reduction"]["macs"] == planned["reduction"]["macs"]
    assert digest("applied.onnx") == digest("net.spa.onnx"), "a plan carried out is a prune"
    ran = shell("prune", model, "--plan", "p.json", "-o", "told.onnx", "-q")
    assert ran.code == 0 and digest("told.onnx") == digest("net.spa.onnx")
    ran = shell("verify", model, "net.spa.onnx", "--json", "--report", "ci.xml")
    verified = report_of(ran)
    assert verified["verify"]["level"] == "equivalence"
    assert not list(ElementTree.parse("ci.xml").getroot().iter("failure"))
    ran = shell("bench", model, "net.spa.onnx", "--runs", "3", "--warmup", "1", "--json", "-q")
    assert ran.code == 0 and [m["path"] for m in json.loads(ran.out)["models"]] == [
        model, "net.spa.onnx",
    ]  # fmt: skip
    assert (
        ran.err == "" and "net.spa.onnx" in shell("bench", model, "net.spa.onnx", "--runs", "3").out
    )


def test_inspect_ops_doctor(model, shell):
    ran = shell("inspect", model)
    assert ran.code == 0 and "stem.conv.weight" in ran.out and "6 groups" in ran.out
    report = report_of(shell("inspect", model, "--json", "-q", "--only", "head.*"))
    assert [g["name"] for g in report["groups"] if not g["frozen"]] == [
        "block2.body.second.conv.weight",
        "head.conv.weight",
    ]
    ops = json.loads(shell("ops", "--json", "-q").out)
    status = {fact["op"]: fact["status"] for fact in ops if not fact["domain"]}
    assert status["Conv"] == "ruled" and status["LayerNormalization"] == "lossy"
    assert set(status.values()) <= {"ruled", "lossy", "frozen"} and len(status) > 150
    assert "Conv" in shell("ops", "conv*").out
    doctor = json.loads(shell("doctor", "--json", "-q").out)
    assert all("CUDA" in p for p in doctor["problems"]) and doctor["providers"]
    assert left_behind() == ["net.onnx"]


def test_a_plan_for_a_fresh_export(shell):
    Path("a.onnx").write_bytes(MOTIFS["residual"].build(seed=0).SerializeToString())
    Path("b.onnx").write_bytes(MOTIFS["residual"].build(seed=1).SerializeToString())
    assert shell("plan", "a.onnx", "-r", "0.3", "-q").code == 0
    assert shell("apply", "b.onnx", "a.plan.json", "-q").code == 0
    shapes = [
        {t.name: list(t.dims) for t in onnx.load(name).graph.initializer}
        for name in ("b.onnx", "b.spa.onnx")
    ]
    plan = json.loads(Path("a.plan.json").read_text())["tensors"]
    assert plan and all(shapes[1][k] == plan[k]["new_shape"] != shapes[0][k] for k in plan)


# Exit codes: each with one sentence, a report, and no file that was not there before


def failed(shell, code, *argv, words, command="prune"):
    """Run, and check what every failure owes to whoever started it."""
    before = left_behind()
    ran = shell(command, *argv, "--report", "r.json", "--report", "r.md", "--json")
    assert ran.code == code, ran.err
    lines = ran.err.strip().splitlines()
    said = [line for line in lines if line.startswith("spa: error: ")]
    assert len(said) == 1 and words in said[0], ran.err
    assert "Traceback" not in ran.err + ran.out
    report = report_of(ran)
    assert report["error"] and words in report["error"]
    assert report["status"] == ("interrupted" if code == 130 else "failed")
    assert report["command"] == command and json.loads(Path("r.json").read_text()) == report
    assert left_behind() == sorted({*before, "r.json", "r.md"})
    return report


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-r", "1.5"], "--ratio must lie strictly between 0 and 1"),
        (["-r", ".5", "--ignore", "zzz*"], "'zzz*' matches no node, initializer, group or branch"),
        (["-r", ".5", "--saliency", "no.npz"], "saliency file no.npz cannot be read"),
        (["--plan", "no.json"], "cannot read the plan no.json"),
        (["-r", ".5", "--plan", "no.json"], "contradict each other"),
    ],
)
def test_code_2_usage(model, shell, argv, words):
    failed(shell, 2, model, *argv, words=words)


def broken_files():
    data = DIGITS.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    yield "empty", b""
    yield "truncated", data[: len(data) // 2]
    yield "one byte short", data[:-1]
    yield "random", noise
    yield "text", b"this is no model\n" * 9
    yield "zeros", bytes(1000)
    yield "a graph without nodes", onnx.ModelProto(ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "data"), [*broken_files()], ids=lambda x: x if isinstance(x, str) else ""
)
def test_code_3_unreadable(shell, kind, data):
    Path("net.onnx").write_bytes(data)
    report = failed(shell, 3, "net.onnx", "-r", ".5", words="net.onnx")
    assert report["input"]["path"] == "net.onnx"


def test_code_3_missing_or_folder(shell):
    failed(shell, 3, "no.onnx", "-r", ".5", words="'no.onnx' does not exist; check the path")
    Path("folder.onnx").mkdir()
    failed(shell, 3, "folder.onnx", "-r", ".5", words="is a folder")
    failed(shell, 3, "no.onnx", words="does not exist", command="inspect")
    failed(shell, 3, "no.onnx", "-r", ".5", words="does not exist", command="plan")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_code_3_not_allowed(model, shell):
    Path(model).chmod(0)
    failed(shell, 3, model, "-r", ".5", words="may not be read")


def test_code_3_external_data_missing(shell):
    weights = onnx.load(DIGITS)
    onnx.save_model(weights, "net.onnx", save_as_external_data=True, location="w", size_threshold=0)
    Path("w").unlink()
    failed(shell, 3, "net.onnx", "-r", ".5", words="missing")


def test_code_4_target(model, shell):
    report = failed(shell, 4, model, "-r", ".9", "--max-layer-ratio", ".3", words="at most ")
    assert report["input"]["macs"] == 548_672 and report["output"] is None
    failed(shell, 4, model, "-r", ".5", "--ignore", "*", words="nothing to prune")


@pytest.mark.parametrize(
    "gate", [("--max-drift", "1e-6"), ("--min-reduction", "0.95"), ("--min-speedup", "1e6")]
)
def test_code_5_gates(model, shell, gate):
    report = failed(shell, 5, model, "-r", "0.4", *gate, words=gate[0])
    assert report["gates"][0]["passed"] is False and report["output"]["path"] is None
    assert report["verify"]["passed"] and report["groups"]


def test_code_5_verify(model, shell):
    assert shell("prune", model, "-r", "0.4", "-q").code == 0
    argv = (model, "net.spa.onnx", "--max-drift", "1e-6")
    failed(shell, 5, *argv, words="--max-drift", command="verify")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_7_time(model, shell):
    """Wherever the alarm falls, even where a folder is listed, which then is not closed by hand."""
    spa.pipeline.prune  # noqa: B018  an alarm in the middle of an import would spoil later tests
    for command in ("prune", "plan"):
        words = "the time limit of 0.001 s was reached"
        failed(shell, 7, model, "-r", ".5", "--timeout", "0.001", words=words, command=command)


def test_code_7_memory(model, shell, monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(sys.modules["spa.pipeline.repair"], "rewrite", greedy)
    failed(shell, 7, model, "-r", ".5", words="out of memory")


def test_code_1_a_bug(model, shell, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("the bug\nin two lines")

    monkeypatch.setattr(sys.modules["spa.pipeline.repair"], "rewrite", broken)
    words = "internal error: ZeroDivisionError: the bug"
    report = failed(shell, 1, model, "-r", ".5", words=words)
    assert report["input"]["macs"] == 548_672, "the report says how far it got"
    ran = shell("prune", model, "-r", ".5")
    assert ran.err.count("\n") == 1 and "rerun with -v" in ran.err
    assert "Traceback" in shell("prune", model, "-r", ".5", "-v").err


def test_code_130_interrupted(model, shell, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["spa.pipeline.finish"], "save", interrupted)
    failed(shell, 130, model, "-r", ".5", *QUICK, words="interrupted")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_ctrl_c_in_a_real_process():
    """It ends at once, with one line, and leaves nothing."""
    os.mkfifo("net.onnx")
    argv = [sys.executable, "-m", "spa", "prune", "net.onnx", "-r", "0.5"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        writer = opened_for_writing("net.onnx")
        time.sleep(0.1)  # now it waits for the model
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=600)
        os.close(writer)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130 and out == b"" and err == b"spa: error: interrupted\n"
    assert left_behind() == ["net.onnx"]


def opened_for_writing(path):
    """Wait until somebody reads at the other end of a pipe."""
    for _ in range(1200):
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody came to read")


def test_a_full_disk_is_told_and_cleaned_up(model, shell, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = shell("prune", model, "-r", ".5", *QUICK)
    assert ran.code == 2 and "No space left on device" in ran.err and ran.err.count("\n") == 1
    assert left_behind() == ["net.onnx"]


def test_a_failure_leaves_an_existing_output_alone(model, shell):
    Path("net.spa.onnx").write_text("mine")
    ran = shell("prune", model, "-r", ".4", "--max-drift", "1e-6", "--force")
    assert ran.code == 5 and Path("net.spa.onnx").read_text() == "mine"
    assert left_behind() == ["net.onnx", "net.spa.onnx"]


def test_a_gate_that_fails_sends_nothing_down_the_pipe(model, capsysbinary):
    argv = ["prune", model, "-r", ".4", "--max-drift", "1e-6", "-o", "-", "-q"]
    assert run(argv) == 5
    out, err = capsysbinary.readouterr()
    assert out == b"" and err.startswith(b"spa: error: the gate --max-drift")


@pytest.mark.skipif(os.name == "nt", reason="needs a pipe")
def test_a_reader_that_goes_away_is_no_error():
    """`spa ops | head -1`"""
    command = [sys.executable, "-m", "spa", "ops"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ours, theirs = os.pipe()
    os.close(ours)  # nobody reads
    done = subprocess.run(
        command, stdout=theirs, stderr=subprocess.PIPE, timeout=600, env=environment
    )
    os.close(theirs)
    assert done.stderr == b"" and done.returncode != 0
