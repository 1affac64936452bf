"""How the command starts: quickly, and with a word for everybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from spa._version import __version__
from spa.cli import COMMANDS, spa
from spa.cli.failure import say
from spa.recipe import Recipe
from spa.registry import CRITERIA

ROOT = Path(__file__).parents[2]


def python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_answers_at_once():
    """Counted in modules, which are what takes the time (0.08 s): a clock depends on the hour."""
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom spa.cli.main import run\nrun(['--help'])\n"
        "print('LOADED', len(set(sys.modules) - before))"
    )
    said = python("-c", code)
    assert "Commands:" in said
    assert int(said.rpartition("LOADED")[2]) < 200  # measured: 116 to 120


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys\nfrom spa.cli.main import run\n"
        f"run({[command, '--help'] if command else ['--help']})\n"
        "print('HEAVY', sorted({'numpy', 'onnx', 'onnxruntime', 'rich', 'scipy'} "
        "& set(sys.modules)))"
    )
    assert "HEAVY []" in python("-c", code)


def test_the_list_needs_no_subcommand():
    code = (
        "import sys\nfrom spa.cli.main import run\nrun(['--help'])\n"
        "print([m for m in sys.modules if m in ('spa.cli.prune', 'spa.cli.options')])"
    )
    assert python("-c", code).endswith("[]\n")


def test_without_arguments_it_shows_its_help(shell):
    ran = shell()
    assert ran.code == 0 and "Exit codes:" in ran.out
    assert all(command in ran.out for command in COMMANDS)


def test_version(shell):
    assert shell("--version").out == f"spa {__version__}\n"


def test_a_version_in_the_environment_is_not_a_question_for_ours(shell, monkeypatch):
    monkeypatch.setenv("SPA_VERSION", "0.9")
    assert "Commands:" in shell("--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(shell, name):
    ran = shell(name, "--help")
    assert ran.code == 0 and f"Usage: spa {name}" in ran.out
    command = spa.get_command(None, name)
    assert command.name == name and command.help and command.help.count("\n\n") <= 4
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


@pytest.mark.parametrize(
    "option",
    "--ratio --of --scorer --saliency --aggregate --normalize --scope --layer-ratio "
    "--max-layer-ratio --round-to --min-channels --ignore --only --input-shape --seed --device "
    "--verify --min-reduction --max-drift --min-speedup --strict --dry-run --plan --report "
    "--json --timeout --force --output --quiet --verbose --no-color --calib --no-reconstruct "
    "--steps --repair --sequential --parallel --allocation --memory --probe --samples "
    "--input-range --mean --std".split(),
)
def test_prune_has_every_option_of_the_contract(option):
    parameters = spa.get_command(None, "prune").params
    assert option in {name for p in parameters for name in (*p.opts, *p.secondary_opts)}


def test_the_recipe_and_the_options_agree():
    options = {p.name: p.default for p in spa.get_command(None, "prune").params}
    for field in Recipe.__dataclass_fields__:
        assert field in options
    assert Recipe().scorer in CRITERIA.choices()


def test_a_typo_gets_a_hint(shell):
    ran = shell("prun", "x.onnx")
    assert ran.code == 2
    assert ran.err == "spa: error: No such command 'prun', did you mean prune?; see spa --help\n"


def test_an_unknown_command_is_a_usage_error(shell):
    ran = shell("zzz")
    assert ran.code == 2 and ran.err.startswith("spa: error: No such command 'zzz'")


@pytest.mark.parametrize("argv", [["prune"], ["prune", "m.onnx", "--zap"], ["verify", "a.onnx"]])
def test_usage_errors_are_one_sentence(shell, argv):
    ran = shell(*argv)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("spa: error: ") and f"see spa {argv[0]} --help" in ran.err


def test_a_sentence_has_a_length(capsys):
    say("x" * 5000 + "\x1b[31m end")
    said = capsys.readouterr().err
    assert len(said) < 1000 and "\x1b" not in said and said.endswith("end\n")
