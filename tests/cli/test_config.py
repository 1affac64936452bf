"""Options in a file, and those that only `--set` and a file reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spa.cli import spa
from spa.config import as_json, read_config, recipe_from, recipe_of
from spa.errors import UsageError
from spa.recipe import OPTIONS, Recipe
from spa.spelling import in_python

CONFIG = """
ratio = 0.4
scorer = "l1"
round-to = 8
max_layer_ratio = 0.8
ignore = ["head*"]
layer-ratio = { "stem.*" = 0.1 }
input-shape = { x = [1, 3, 32, 32] }
mean = [0.5]
memory = "1G"
rotate = false
calib = "photos.npz"
report = ["out.json"]
jobs = 3

["detect/*"]
ratio = 0.2
"""
MEANT = Recipe(
    ratio=0.4, scorer="l1", round_to=8, max_layer_ratio=0.8, ignore=("head*",), mean=(0.5,),
    layer_ratio={"stem.*": 0.1}, input_shape={"x": (1, 3, 32, 32)}, memory=1 << 30, rotate=False,
    calib="photos.npz",
)  # fmt: skip


# --set


def test_a_name_and_a_value_are_the_option_of_that_name(calls, shell):
    ran = shell(
        "prune", "net.onnx", "-r", "0.3", "--set", "steps=3", "--set=rotate=false",
        "--set", "sequential=no", "--set", "batch-norm=true", "--set", "max_layer_ratio=0.5",
        "--set", "ignore=a*", "--set", "ignore=b=c", "--set", "mean=0.5,0.4", "--set", "strict=1",
        "--set", "layer-ratio=stem=0.1", "--set", "require-proof=0", "--set", "device=cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert calls.last.recipe == Recipe(
        ratio=0.3, steps=3, rotate=False, sequential=False, max_layer_ratio=0.5, strict=True,
        ignore=("a*", "b=c"), mean=(0.5, 0.4), layer_ratio={"stem": 0.1}, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("stepps=3", "there is no option 'stepps'; did you mean steps?"),
        ("output=x", "there is no option 'output'"),
        ("steps", "--set 'steps' is not written like NAME=VALUE"),
        ("", "--set '' is not written like NAME=VALUE"),
        ("steps=x", "'x' is not a valid integer"),
        ("rotate=maybe", "'maybe' is not a valid boolean"),
        ("steps=0", "--set steps must be a whole number from 1 to 100, not 0"),
        ("repair=ful", "'ful' is not one of"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(calls, shell, written, words):
    ran = shell("prune", "net.onnx", "-r", "0.3", "--set", written)
    assert ran.code == 2 and words in ran.err and ran.err.count("\n") == 1 and not calls.made


def test_an_argument_that_is_called_so_stays_one(calls, shell):
    assert shell("prune", "-r", ".3", "--", "--set").code == 0
    assert calls.last.model == "--set"


@pytest.mark.parametrize("command", ["prune", "plan", "sweep", "zoo"])
def test_what_help_shows_is_what_people_decide(command, shell):
    text = shell(command, "--help").out
    assert "--set NAME=VALUE" in text and "--config FILE" in text and "--steps" not in text
    assert all(name in text.split("More, by --set")[1] for name in ("steps", "repair", "seed"))


@pytest.mark.parametrize("command", ["prune", "zoo"])
def test_about_thirty_options_are_shown(command):
    shown = [p for p in spa.get_command(None, command).params if not getattr(p, "hidden", False)]
    assert len(shown) - 1 <= 35  # and --help


# --config


@pytest.mark.parametrize("name", ["spa.toml", "pyproject.toml"])
@pytest.mark.parametrize("command", ["prune", "plan"])
def test_a_file_says_what_the_options_say(calls, shell, name, command):
    if name == "pyproject.toml":
        inside = CONFIG.replace('["detect/*"]', '[tool.spa."detect/*"]')
        Path(name).write_text(f"[project]\nname = 'x'\n[tool.spa]{inside}")
        ran = shell(command, "net.onnx")
    else:
        Path(name).write_text(CONFIG)
        ran = shell(command, "net.onnx", "--config", name)
    assert ran.code == 0, ran.err
    assert calls.last.recipe == MEANT
    assert json.loads(Path("out.json").read_text())["command"] == "prune"


def test_the_nearest_project_counts_and_says_so(calls, shell, monkeypatch):
    Path("pyproject.toml").write_text("[tool.spa]\nratio = 0.4\ncalib = 'c.npz'\n")
    Path("deep/er").mkdir(parents=True)
    monkeypatch.chdir("deep/er")
    ran = shell("prune", "net.onnx", "-v")
    assert ran.code == 0 and "options of" in ran.err and "pyproject.toml are used" in ran.err
    assert calls.last.recipe.ratio == 0.4
    assert Path(calls.last.recipe.calib).resolve() == Path("../../c.npz").resolve()
    Path("pyproject.toml").write_text("[tool.other]\n")
    assert shell("prune", "net.onnx").code == 2


def test_the_command_line_and_the_environment_win(calls, shell, monkeypatch):
    Path("spa.toml").write_text("ratio = 0.4\nscorer = 'l1'\nrotate = false\nignore = ['a']\n")
    monkeypatch.setenv("SPA_PRUNE_SCORER", "l2")
    shell("prune", "n.onnx", "--config", "spa.toml", "-r", ".2", "--rotate", "--ignore", "b")
    assert calls.last.recipe == Recipe(ratio=0.2, scorer="l2", ignore=("b",))


def test_paths_are_relative_to_the_file(calls, shell):
    Path("sub").mkdir()
    Path("sub/spa.toml").write_text("ratio = 0.4\ncalib = 'c.npz'\noutput = 'o.onnx'\n")
    assert shell("prune", "n.onnx", "--config", "sub/spa.toml").code == 0
    assert calls.last.recipe.calib == str(Path("sub/c.npz"))
    assert calls.last.output == str(Path("sub/o.onnx"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ratoi = 1", "there is no option 'ratoi'; did you mean ratio? (spa.toml)"),
        ("ratio = '0.3'", "spa.toml: ratio must lie strictly between 0 and 1, not '0.3'"),
        ("steps = 0", "spa.toml: steps must be a whole number from 1 to 100, not 0"),
        ("of = 'mac'", "spa.toml: of 'mac' is unknown; did you mean macs?"),
        ("memory = 'much'", "spa.toml: 'much' is no size; write 4G or 512M"),
        ("ignore = 'head'", "spa.toml: ignore must be a sequence of globs, not 'head'; write ['h"),
        ("layer-ratio = 0.3", "spa.toml: layer-ratio must be"),
        ("ratio = 0.3\nverify = 'none'\nmin-speedup = 2", "--min-speedup must run the models"),
        ("ratio = ", "spa.toml is no TOML"),
        ("'*.onnx' = 3", "*.onnx in spa.toml is no table"),
        ("['*.onnx']\nration = 3", "there is no option 'ration'; did you mean ratio? ([*.onnx] of"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(calls, shell, text, words):
    Path("spa.toml").write_text(text)
    ran = shell("prune", "net.onnx", "--config", "spa.toml", "--set", "scorer=l2")
    assert ran.code == 2 and words in ran.err and ran.err.count("\n") == 1 and not calls.made


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_is_not_there(calls, shell, name):
    ran = shell("prune", "net.onnx", "--config", name)
    assert ran.code == 2 and f"cannot read --config {name}" in ran.err


def test_a_file_that_is_no_text(calls, shell):
    Path("model.toml").write_bytes(b"\xff\xfe\x00")
    assert "is no text" in shell("prune", "net.onnx", "--config", "model.toml").err


# Reports


def test_a_report_is_a_config(calls, shell):
    Path("r.json").write_text(json.dumps({"command": "prune", "recipe": as_json(MEANT)}))
    Path("sub").mkdir()
    assert shell("prune", "net.onnx", "--config", "r.json").code == 0
    assert calls.last.recipe == MEANT
    Path("r.json").rename("sub/r.json")  # its paths are those of the run
    assert shell("prune", "net.onnx", "--config", "sub/r.json", "-r", ".2").code == 0
    assert calls.last.recipe.calib == "photos.npz" and calls.last.recipe.ratio == 0.2


@pytest.mark.parametrize(("text", "words"), [("{}", "no rec"), ("[]", "no rec"), ("{", "no J")])
def test_what_carries_no_recipe(calls, shell, text, words):
    Path("r.json").write_text(text)
    ran = shell("prune", "net.onnx", "--config", "r.json")
    assert ran.code == 2 and words in ran.err


def test_a_recipe_survives_json():
    for recipe in (MEANT, Recipe(), Recipe(input_range=(0, 1), std=(1, 2), check="a {model}")):
        report = json.loads(json.dumps({"recipe": as_json(recipe)}))
        assert recipe_from(recipe_of(report)) == recipe


def test_functions_are_told_by_name():
    assert as_json(Recipe(check=lambda path: 1.0))["check"].endswith("<lambda>")


def test_every_option_can_stand_in_a_file(tmp_path):
    path = tmp_path / "all.toml"
    plain = as_json(Recipe())
    lines = [f"{k} = {json.dumps(v)}" for k, v in plain.items() if v not in (None, {})]
    path.write_text("\n".join(lines))
    assert recipe_from(read_config(str(path), OPTIONS).options) == Recipe()


def test_a_recipe_refuses_what_it_does_not_know():
    with pytest.raises(UsageError, match="no option 'ratios'; did you mean ratio"):
        recipe_from({"ratios": 1})


# Spelling


@pytest.mark.parametrize(
    ("shells", "pythons"),
    [
        ("--ratio must lie", "ratio= must lie"),
        ("lower --ratio, or loosen --only", "lower ratio=, or loosen only="),
        ("use --set verify=run or --level run", 'use verify="run" or level="run"'),
        ("--set rotate=false leaves it", "rotate=False leaves it"),
        ("choose --scorer l2; --of 'x' is", "choose scorer=\"l2\"; of='x' is"),
        ("--max-drift 0.1, --set steps=3", "max_drift=0.1, steps=3"),
        ("--set max-layer-ratio 0.9 lets", "max_layer_ratio=0.9 lets"),
        ("`spa inspect --frozen` says; use spa plan", "`spa.inspect` says; use spa.plan"),
        ("replace it with --force, or -o FILE", "replace it with force=True, or output="),
        ("a -- b --", "a -- b --"),
        ("a-name--x stays", "a-name--x stays"),
    ],
)
def test_a_sentence_speaks_python(shells, pythons):
    assert in_python(shells) == pythons
