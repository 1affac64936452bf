"""The Python face: the names of the shell, documented, typed, and imported only when used."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import spa
from spa import api
from spa.errors import ReadError, SpaError, TargetError, UsageError, VerifyError
from spa.recipe import Recipe
from tests.carried import DIGITS

ROOT = Path(__file__).parents[1]
FUNCTIONS = [name for name in api.__all__ if name != "read"]


def parameters(function):
    return [p for p in inspect.signature(function).parameters.values()]


def sections(function):
    """Headings of a google docstring with what is indented under them."""
    found = {}
    heading = None
    for line in (inspect.getdoc(function) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            heading = found.setdefault(line[:-1], [])
        elif line and not line.startswith(" "):
            heading = None
        elif heading is not None:
            heading.append(line)
    return found


@pytest.mark.parametrize("name", spa.__all__)
def test_every_public_name_is_there(name):
    assert getattr(spa, name) is not None
    assert name in dir(spa)


def test_the_list_is_sorted_and_whole():
    assert spa.__all__ == sorted(spa.__all__)
    errors = {name for name in spa.__all__ if name.endswith("Error")}
    others = {"Plan", "Recipe", "Result", "__version__", "recipe_of"}
    assert {*api.__all__} | others | errors == {*spa.__all__}
    assert all(issubclass(getattr(spa, name), spa.SpaError) for name in errors)


def test_the_names_that_type_checkers_see_are_the_same():
    tree = ast.parse((ROOT / "spa/__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {a.asname or a.name for line in checked.body for a in line.names}
    assert seen == {*spa.__all__}


def test_what_is_not_there_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match="module 'spa' has no attribute 'pruned'"):
        _ = spa.pruned


def test_importing_spa_imports_nothing_heavy():
    code = (
        "import sys, spa; print(sorted({'numpy', 'onnx', 'onnxruntime', 'click'} & {*sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "[]\n"


def test_python_may_be_told_to_strip_docstrings():
    done = subprocess.run(
        [sys.executable, "-OO", "-c", "import spa; print(spa.prune.__doc__)"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.stdout == "None\n", done.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_documents_its_arguments_and_errors(name):
    function = getattr(spa, name)
    found = sections(function)
    assert found.get("Raises"), f"{name} does not say what it raises"
    documented = re.findall(r"^    (\w+):", "\n".join(found.get("Args", [])), re.MULTILINE)
    assert documented == [p.name for p in parameters(function)], name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_typed(name):
    signature = inspect.signature(getattr(spa, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_prune_has_the_fields_of_the_recipe_with_their_defaults():
    given = {p.name: p for p in parameters(spa.prune)}
    for field in dataclasses.fields(Recipe):
        default = getattr(Recipe(), field.name)
        own = given.pop(field.name).default
        assert (own or None) == (default or None), field.name
    assert set(given) == {"model", "output", "force", "resume", "callback"}


def test_a_round(tmp_path):
    result = spa.prune(
        DIGITS, ratio=0.3, scorer="l2", layer_ratio={"stem.*": 0.25}, ignore=["head.*"]
    )
    assert isinstance(result, spa.Result) and isinstance(result.model, onnx.ModelProto)
    assert result.report["status"] == "ok" and result.report["reduction"]["macs"] >= 0.3
    assert isinstance(result.plan, spa.Plan) and result.plan.recipe["ignore"] == ["head.*"]
    result.save(tmp_path / "small.onnx")
    plan = spa.plan(DIGITS, 0.3, scorer="l2", layer_ratio={"stem.*": 0.25}, ignore=("head.*",)).plan
    assert plan == result.plan
    plan.save(tmp_path / "plan.json")
    applied = spa.apply(DIGITS, tmp_path / "plan.json", output=tmp_path / "applied.onnx")
    assert applied.report["output"]["path"] == str(tmp_path / "applied.onnx")
    assert (tmp_path / "applied.onnx").read_bytes() == (tmp_path / "small.onnx").read_bytes()
    report = spa.verify(DIGITS, tmp_path / "small.onnx", max_drift=5.0)
    assert report["verify"]["passed"] and report["gates"][0]["passed"]
    assert len(spa.inspect(DIGITS)["groups"]) == 6
    assert len(spa.bench([DIGITS, applied.model], runs=2, warmup=0)["models"]) == 2
    assert spa.read(DIGITS).outputs == ("logits",)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: spa.prune(DIGITS, ratio=30), UsageError),
        (lambda: spa.prune(DIGITS, ignore="head.*"), UsageError),
        (lambda: spa.prune(DIGITS, round_to=0), UsageError),
        (lambda: spa.prune("no.onnx"), ReadError),
        (lambda: spa.prune(b"junk"), ReadError),
        (lambda: spa.prune(3), ReadError),
        (lambda: spa.prune(DIGITS, 0.99, max_layer_ratio=0.5), TargetError),
        (lambda: spa.prune(DIGITS, 0.3, scorer="l2", max_drift=0.0), VerifyError),
        (lambda: spa.plan(DIGITS, 2.0), UsageError),
        (lambda: spa.apply(DIGITS, "no.json"), UsageError),
        (lambda: spa.inspect(b""), ReadError),
        (lambda: spa.verify(DIGITS, b""), ReadError),
        (lambda: spa.bench([b""]), ReadError),
        (lambda: spa.bench([]), UsageError),
    ],
)
def test_errors_are_ours_and_one_sentence(call, error):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, SpaError)
    assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ignore", "only"])
def test_one_glob_is_no_sequence_of_globs(name):
    for function in (spa.prune, spa.plan, spa.inspect):
        with pytest.raises(UsageError, match=f"^{name}= must be a sequence of globs, not 'head"):
            function(DIGITS, **{name: "head.*"})


def test_an_unknown_option_is_a_type_error():
    for function in (spa.prune, spa.plan, spa.inspect):
        with pytest.raises(TypeError, match="ratios"):
            function(DIGITS, ratios=0.5)
    with pytest.raises(TypeError, match="no option 'ratios'; did you mean ratio"):
        spa.plan(DIGITS, ratios=0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"ratio": "0.3"},
            "ratio= must lie strictly between 0 and 1, not '0.3'; write 0.3 without quotes",
        ),
        ({"layer_ratio": [1]}, "layer_ratio= must be"),
        ({"steps": 2.0}, "steps= must be a whole number from 1 to 100, not 2"),
        ({"min_speedup": 1.2, "verify": "none"}, 'verify="none" forbids it; use verify="run"'),
        ({"repair": "none", "reconstruct": True}, 'reconstruct=True and repair="none" contradict'),
        ({"saliency": 3}, "saliency= must be the path of a file, not 3"),
        ({"calib": 3}, "calib is a path, an array"),
        ({"mean": 0.5}, "mean= must be finite numbers, one or several, not 0.5"),
        ({"max_drop": 0.1}, "max_drop= is about the score of a check=, and none is given; write"),
        ({"memory": "4G"}, "memory= must be at least 1M, in whole bytes, not '4G'"),
    ],
)
def test_what_is_wrong_is_said_as_python_spells_it(options, words):
    for function in (spa.prune, spa.plan):
        with pytest.raises(UsageError) as caught:
            function(DIGITS, **options)
        assert words in str(caught.value) and "--" not in str(caught.value)


def test_numbers_and_paths_of_every_kind_are_taken(tmp_path):
    plan = spa.plan(
        DIGITS, np.float32(0.25), scorer="l2", seed=np.int64(3), mean=np.array([0.5]),
        input_shape=None, max_layer_ratio=1, only=["*"],
    ).plan  # fmt: skip
    assert plan.recipe["ratio"] == 0.25 and plan.recipe["seed"] == 3
    assert plan.recipe["mean"] == [0.5] and plan.recipe["max_layer_ratio"] == 1.0
