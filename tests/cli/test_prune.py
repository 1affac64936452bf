"""`spa prune`: what it asks of the pipeline, what it prints where, and what it leaves behind."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import onnx
import pytest

from spa.cli import files
from spa.cli.main import run
from spa.errors import LimitError, ReadError, SpaError, TargetError, VerifyError
from spa.recipe import Recipe
from tests.reports.samples import success
from tests.reports.valid import validate

MODEL = onnx.ModelProto(producer_name="pruned").SerializeToString()


def test_the_defaults_are_the_recipes(calls, shell):
    ran = shell("prune", "net.onnx", "-r", "0.4")
    assert ran.code == 0
    assert calls.last.recipe == Recipe(ratio=0.4)
    assert calls.last.model == "net.onnx" and calls.last.output == "net.spa.onnx"
    assert (calls.last.force, calls.last.dry_run, calls.last.plan) == (False, False, None)


def test_a_bypass_alone_cuts_no_channel_and_beside_a_ratio_counts_towards_it(calls, shell):
    ran = shell("prune", "net.onnx", "--bypass", "layer3.*", "--bypass", "b")
    assert ran.code == 0
    assert calls.last.recipe.bypass == ("layer3.*", "b")
    assert calls.last.plan.tensors == {} and calls.last.plan.groups == ()
    assert shell("prune", "net.onnx", "--bypass", "b", "-r", "0.4").code == 0
    assert calls.last.plan is None
    assert calls.last.recipe == Recipe(ratio=0.4, bypass=("b",))


def test_every_option_reaches_the_recipe(calls, shell):
    ran = shell(
        *"prune net.onnx -r 0.3 --of params -s l1 --aggregate max --normalize gaussian".split(),
        *"--scope local --layer-ratio layer1.*=0.2 --layer-ratio a=b=0".split(),
        *"--max-layer-ratio 0.8 --round-to auto --min-channels 4".split(),
        *"--ignore head* --ignore x --only body*".split(),
        *"--input-shape input:0:1,3,8,8 --input-shape scalar: --seed 7 --device cpu".split(),
        *"--verify run --min-reduction 0.2 --max-drift 0.5 --min-speedup 1.1 --strict".split(),
        *"--allocation greedy --steps 3 --repair bias --parallel --memory 1.5GiB".split(),
        *"--calib c.npz --probe tokens --samples 9 --input-range -1,1 --mean .5".split(),
        *"--std .1,.2,.3 -o out.onnx --force".split(),
    )
    assert ran.code == 0, ran.err
    assert calls.last.recipe == Recipe(
        ratio=0.3,
        of="params",
        scorer="l1",
        aggregate="max",
        normalize="gaussian",
        scope="local",
        layer_ratio={"layer1.*": 0.2, "a=b": 0.0},
        max_layer_ratio=0.8,
        round_to="auto",
        min_channels=4,
        ignore=("head*", "x"),
        only=("body*",),
        input_shape={"input:0": (1, 3, 8, 8), "scalar": ()},
        seed=7,
        device="cpu",
        verify="run",
        min_reduction=0.2,
        max_drift=0.5,
        min_speedup=1.1,
        strict=True,
        allocation="greedy",
        steps=3,
        repair="bias",
        sequential=False,
        memory=3 << 29,
        calib="c.npz",
        probe="tokens",
        samples=9,
        input_range=(-1.0, 1.0),
        mean=(0.5,),
        std=(0.1, 0.2, 0.3),
    )
    assert calls.last.output == "out.onnx" and calls.last.force


def test_every_option_has_an_environment_variable(calls, shell, monkeypatch):
    for name, value in {
        "RATIO": "0.3",
        "OF": "channels",
        "SCORER": "random",
        "LAYER_RATIO": "a=0.1 b=0.2",
        "ROUND_TO": "8",
        "IGNORE": "head* tail*",
        "INPUT_SHAPE": "x:1,3 y:2",
        "STRICT": "1",
        "MAX_DRIFT": "0.5",
        "JSON": "true",
        "QUIET": "1",
        "REPORT": "a.json",
        "OUTPUT": "there.onnx",
        "FORCE": "yes",
        "DRY_RUN": "0",
        "STEPS": "2",
        "MEMORY": "4G",
        "SEQUENTIAL": "0",
        "REPAIR": "mix",
        "STD": "0.5,0.25",
    }.items():
        monkeypatch.setenv(f"SPA_PRUNE_{name}", value)
    ran = shell("prune", "net.onnx", "--seed", "3")
    assert ran.code == 0, ran.err
    recipe = calls.last.recipe
    assert (recipe.ratio, recipe.of, recipe.scorer, recipe.seed) == (0.3, "channels", "random", 3)
    assert recipe.layer_ratio == {"a": 0.1, "b": 0.2} and recipe.round_to == 8
    assert recipe.ignore == ("head*", "tail*") and recipe.strict
    assert recipe.input_shape == {"x": (1, 3), "y": (2,)} and recipe.max_drift == 0.5
    assert (recipe.steps, recipe.memory, recipe.sequential) == (2, 4 << 30, False)
    assert recipe.repair == "mix" and recipe.std == (0.5, 0.25)
    assert calls.last.output == "there.onnx" and calls.last.force and not calls.last.dry_run
    assert json.loads(ran.out) == calls.answer and ran.err == ""
    assert Path("a.json").exists()


def test_the_command_line_beats_the_environment(calls, shell, monkeypatch):
    monkeypatch.setenv("SPA_PRUNE_RATIO", "0.3")
    shell("prune", "net.onnx", "-r", "0.6")
    assert calls.last.recipe.ratio == 0.6


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "nothing says how much is to go; give --ratio"),
        (["-r", "50"], "write 0.5 to remove 50 %"),
        (["-r", "half"], "'half' is not a valid float"),
        (["-r", ".5", "--plan", "p.json"], "--ratio and --plan contradict each other"),
        (["-r", ".5", "-s", "l1", "--saliency", "s.npz"], "--scorer and --saliency contradict"),
        (["-r", ".5", "--layer-ratio", "layer1"], "not written like layer1.*=0.3"),
        (
            ["-r", ".5", "--layer-ratio", "a=1.5"],
            "--set layer-ratio of 'a' must be a share",
        ),
        (["-r", ".5", "--input-shape", "x:1,a"], "not written like input:1,3,224,224"),
        (["-r", ".5", "--input-shape", "x:1", "--input-shape", "x:2"], "given twice"),
        (["-r", ".5", "--input-shape", "x:1,0"], "must be whole sizes of at least 1"),
        (["-r", ".5", "--round-to", "most"], "neither a whole number nor auto"),
        (["-r", ".5", "--round-to", "0"], "--round-to must be a whole number of at least 1"),
        (["-r", ".5", "--of", "flops"], "'flops'"),
        (["-r", ".5", "--timeout", "0"], "--timeout must be above 0"),
        (["-r", ".5", "--report", "r.pdf"], "no report has the suffix .pdf"),
        (["-r", ".5", "--report", "no/r.json"], "the folder of the report"),
        (["-r", ".5", "-o", "no/out.onnx"], "the folder of the output"),
        (["-r", ".5", "-o", "-", "--json"], "both want standard output"),
        (["-r", ".5", "-o", "net.onnx"], "net.onnx is the input and is never changed"),
        (["-r", ".5", "--report", "r.json", "--report", "r.json"], "named for two things"),
        (["-r", ".5", "--verify", "none", "--max-drift", "1"], "--set verify=none forbids it"),
        (["-r", ".5", "--memory", "much"], "'much' is no size; write 4G or 512M"),
        (["-r", ".5", "--memory", "4"], "--memory must be at least 1M"),
        (["-r", ".5", "--mean", "0.5;0.4"], "'0.5;0.4' is not written like 0.485,0.456,0.406"),
        (["-r", ".5", "--input-range", "255,0"], "the lower one first"),
        (["-r", ".5", "--no-reconstruct", "--repair", "full"], "contradict each other"),
    ],
)
def test_a_wrong_use_is_one_sentence_and_nothing_is_done(calls, shell, argv, words):
    ran = shell("prune", "net.onnx", *argv)
    assert ran.code == 2 and words in ran.err and calls.made == []
    assert ran.err.startswith("spa: error: ") and ran.err.count("\n") == 1
    assert ran.out == "" or json.loads(ran.out)["exit_code"] == 2


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("1048576", 1 << 20),
        ("2M", 2 << 20),
        ("2mb", 2 << 20),
        ("1.5 GiB", 3 << 29),
        ("1t", 1 << 40),
    ],
)
def test_memory_is_written_as_people_write_it(calls, shell, size, count):
    assert shell("prune", "net.onnx", "-r", ".5", "--memory", size).code == 0
    assert calls.last.recipe.memory == count


@pytest.mark.parametrize(
    ("variables", "argv", "mode"),
    [
        ({"REPAIR": "full"}, ["--no-reconstruct"], "none"),
        ({"RECONSTRUCT": "0"}, ["--repair", "bias"], "bias"),
        ({"RECONSTRUCT": "1"}, ["--repair", "none"], "none"),
    ],
)
def test_what_is_refitted_is_what_was_said_by_hand(
    calls, shell, monkeypatch, variables, argv, mode
):
    for name, value in variables.items():
        monkeypatch.setenv(f"SPA_PRUNE_{name}", value)
    ran = shell("prune", "net.onnx", "-r", ".5", "-s", "l2", *argv)
    assert ran.code == 0, ran.err
    assert calls.last.recipe.mode == mode


def test_a_plan_takes_the_place_of_the_ratio(calls, shell, monkeypatch):
    monkeypatch.setenv("SPA_PRUNE_RATIO", "0.3")  # a default of the machine is no contradiction
    ran = shell("prune", "net.onnx", "--plan", "p.json")
    assert ran.code == 0, ran.err
    assert calls.last.plan == "p.json"


def test_a_dry_run_writes_no_model(calls, shell):
    ran = shell("prune", "net.onnx", "-r", ".5", "--dry-run")
    assert ran.code == 0 and calls.last.dry_run and calls.last.output is None


def test_an_existing_output_needs_force(calls, shell):
    Path("net.spa.onnx").write_text("mine")
    ran = shell("prune", "net.onnx", "-r", ".5")
    assert ran.code == 2 and "--force" in ran.err and calls.made == []
    assert shell("prune", "net.onnx", "-r", ".5", "--force").code == 0


def test_the_input_is_never_the_output_even_by_another_name(calls, shell):
    Path("net.onnx").write_text("mine")
    Path("same.onnx").hardlink_to("net.onnx")
    ran = shell("prune", "net.onnx", "-r", ".5", "-o", "same.onnx", "--force")
    assert ran.code == 2 and "never changed" in ran.err and calls.made == []


# Streams


def test_the_table_stands_on_stdout(calls, shell):
    ran = shell("prune", "net.onnx", "-r", ".5")
    assert "Original" in ran.out and "-50.1%" in ran.out and ran.err == ""


def test_json_stands_on_stdout_and_people_read_stderr(calls, shell):
    ran = shell("prune", "net.onnx", "-r", ".5", "--json")
    assert json.loads(ran.out) == calls.answer
    assert "Original" in ran.err


def test_quiet_prints_nothing(calls, shell):
    assert shell("prune", "net.onnx", "-r", ".5", "-q").out == ""
    ran = shell("prune", "net.onnx", "-r", ".5", "-q", "--json")
    assert json.loads(ran.out) and ran.err == ""


def test_verbose_prints_notes_and_durations_as_lines(calls, shell):
    lines = shell("prune", "net.onnx", "-r", ".5", "-v").err.splitlines()
    assert lines == ["note: a decision", "warning: a worry", "load         250 ms"]


def test_without_colour_there_are_no_escapes(calls, shell, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[3" in shell("prune", "net.onnx", "-r", ".5").out
    assert "\x1b[3" not in shell("prune", "net.onnx", "-r", ".5", "--no-color").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shell("prune", "net.onnx", "-r", ".5").out


def stdin(monkeypatch, data):
    fake = types.SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", fake)


def test_a_model_comes_from_stdin_and_goes_to_stdout(calls, monkeypatch, capsysbinary):
    stdin(monkeypatch, b"model bytes")
    assert run(["prune", "-", "-r", ".5", "--report", "r.json"]) == 0
    out, err = capsysbinary.readouterr()
    assert out == MODEL  # the model and nothing else
    assert b"Original" in err
    assert calls.last.model == b"model bytes" and calls.last.output is None
    output = json.loads(Path("r.json").read_text())["output"]
    assert (output["path"], output["bytes"]) == ("-", len(out))
    assert validate(json.loads(Path("r.json").read_text())) == []


def test_a_file_can_go_to_stdout(calls, capsysbinary):
    assert run(["prune", "net.onnx", "-r", ".5", "-o", "-", "-q"]) == 0
    assert capsysbinary.readouterr() == (MODEL, b"")


def test_the_best_of_a_run_that_was_ended_goes_to_stdout(calls, capsysbinary):
    calls.exit_code, calls.answer = 130, {**calls.answer, "status": "interrupted"}
    assert run(["prune", "net.onnx", "-r", ".5", "-o", "-", "-q"]) == 130
    assert capsysbinary.readouterr().out == MODEL


def test_a_model_that_failed_does_not_go_to_stdout(calls, capsysbinary):
    calls.exit_code = 5
    calls.answer.update(status="failed", exit_code=5, error="drift is too large.")
    assert run(["prune", "net.onnx", "-r", ".5", "-o", "-", "-q"]) == 5
    out, err = capsysbinary.readouterr()
    assert out == b"" and err == b"spa: error: drift is too large.\n"


def test_an_empty_stdin_is_an_input_error(calls, shell, monkeypatch):
    stdin(monkeypatch, b"")
    ran = shell("prune", "-", "-r", ".5", "-o", "x.onnx")
    assert ran.code == 3 and "standard input is empty" in ran.err


def test_a_terminal_gets_no_model(calls, shell, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ran = shell("prune", "net.onnx", "-r", ".5", "-o", "-")
    assert ran.code == 2 and "is a terminal" in ran.err and calls.made == []


def test_a_model_too_large_for_a_pipe_says_so(calls, shell, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_MODEL", 3)
    ran = shell("prune", "net.onnx", "-r", ".5", "-o", "-")
    assert ran.code == 2 and "give -o FILE" in ran.err and ran.out == ""


# Failures


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ReadError("net.onnx does not exist; check the path."), 3, "does not exist"),
        (TargetError("nothing can be pruned; see spa inspect."), 4, "nothing can be pruned"),
        (VerifyError("output y differs."), 5, "output y differs"),
        (LimitError("too slow."), 7, "too slow"),
        (MemoryError(), 7, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "internal error: ZeroDivisionError: division"),
        (KeyError("first\nsecond"), 1, "rerun with -v for the traceback"),
    ],
)
def test_every_failure_is_a_code_a_sentence_and_a_report(calls, shell, error, code, words):
    calls.error = error
    ran = shell(
        "prune", "net.onnx", "-r", ".5", "--json", "--report", "r.json", "--report", "r.xml"
    )
    assert ran.code == code and words in ran.err
    assert ran.err.startswith("spa: error: ") and ran.err.count("\n") == 1
    report = json.loads(ran.out)
    assert validate(report) == [] and report == json.loads(Path("r.json").read_text())
    assert report["exit_code"] == code and words.split("; ")[0] in ran.err
    assert report["status"] == ("interrupted" if code == 130 else "failed")
    assert report["input"]["path"] == "net.onnx"
    assert "<error" in Path("r.xml").read_text() or code in (4, 5)


def test_a_partial_report_is_kept(calls, shell):
    calls.error = VerifyError("output y differs.")
    calls.error.report = success()
    ran = shell("prune", "net.onnx", "-r", ".5", "--json")
    report = json.loads(ran.out)
    assert report["exit_code"] == 5 and report["error"] == "output y differs."
    assert report["groups"] == success()["groups"] and report["status"] == "failed"
    assert calls.error.report["exit_code"] == 0  # the error's own is left alone


@pytest.mark.parametrize(("error", "shown"), [(VerifyError, 1), (TargetError, 1), (ReadError, 0)])
def test_a_missed_target_or_gate_is_shown_with_its_numbers(calls, shell, error, shown):
    calls.error = error("it failed")
    calls.error.report = success()
    ran = shell("prune", "net.onnx", "-r", ".5")
    assert ran.out.count("Original") == shown and ran.err == "spa: error: it failed\n"
    assert shell("prune", "net.onnx", "-r", ".5", "-q").out == ""


def test_the_traceback_of_a_bug_comes_only_with_v(calls, shell):
    calls.error = ZeroDivisionError("division by zero")
    assert "Traceback" not in shell("prune", "net.onnx", "-r", ".5").err
    ran = shell("prune", "net.onnx", "-r", ".5", "-v")
    assert ran.code == 1 and "Traceback" in ran.err and "in prune" in ran.err
    calls.error = ReadError("no such file.")
    assert "Traceback" not in shell("prune", "net.onnx", "-r", ".5", "-v").err


def test_an_error_cannot_smuggle_escapes_or_lines(calls, shell):
    calls.error = SpaError("node \x1b[31m\nred")
    assert shell("prune", "net.onnx", "-r", ".5").err == "spa: error: node ?[31m red\n"


def test_a_report_that_cannot_be_written_does_not_hide_the_failure(calls, shell):
    calls.error = TargetError("nothing can be pruned.")
    Path("r.json").touch()
    Path("sub").mkdir()
    calls_answer = shell("prune", "net.onnx", "-r", ".5", "--report", "r.json", "--report", "r.txt")
    assert calls_answer.code == 2 and calls_answer.err.count("\n") == 1
    assert json.loads(Path("r.json").read_text())["exit_code"] == 2


def test_a_failed_gate_shows_its_report_and_its_sentence(calls, shell):
    calls.exit_code = 5
    calls.answer.update(status="failed", exit_code=5, error="drift 0.4 is above --max-drift 0.3.")
    ran = shell("prune", "net.onnx", "-r", ".5")
    assert ran.code == 5 and "Original" in ran.out
    assert ran.err == "spa: error: drift 0.4 is above --max-drift 0.3.\n"


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_reports_are_written(calls, shell, suffix):
    assert shell("prune", "net.onnx", "-r", ".5", "--report", f"r.{suffix}").code == 0
    assert Path(f"r.{suffix}").stat().st_size > 100


def test_the_screen_says_where_the_files_are(calls, shell):
    out = shell("prune", "net.onnx", "-r", ".5", "--report", "r.html").out
    assert "models/net.spa.onnx" in out and "r.html" in out
