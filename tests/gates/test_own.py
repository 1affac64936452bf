"""A user's own check, asked about a file: commands, entry points and functions."""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from spa.check import name_of, score, validate
from spa.errors import UsageError
from spa.recipe import Recipe
from tests.carried import DIGITS
from tests.gates import judges

HERE = os.path.dirname(__file__)
SCRIPT = os.path.join(HERE, "judges.py")


def python(code, *rest):
    """A command line that runs some Python; the model is its last argument."""
    return shlex.join([sys.executable, "-c", code, *rest, "{model}"])


def printing(words):
    return python(f"print({words!r})")


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("0.935", 0.935),
        ("top-1: 93.5%", 93.5),
        ("epoch 3 acc=-1.5e-3", -0.0015),
        ("acc 0.5 on val2017", 0.5),
        ("12 images\n.25\n", 0.25),
        ("0.5 (done.)", 0.5),
        ("score 7.", 7.0),
        ("v1.2.3 scored 4", 4.0),
        ("4 by v1.2.3", 4.0),
        ("+2", 2.0),
        ("0.5 nan", None),
        ("inf", None),
        ("nanometres", None),
        ("", None),
    ],
)
def test_the_score_is_the_last_number(printed, value):
    found = score(printing(printed), DIGITS)
    assert (found.value, found.trouble) == (value, None)


def test_the_path_takes_the_place_of_the_word(tmp_path):
    model = tmp_path / "a model; echo 7.onnx"
    model.write_bytes(b"12345")
    code = "import os, sys; print(os.path.getsize(sys.argv[1].removeprefix('--model=')))"
    asked = shlex.join([sys.executable, "-c", code, "--model={model}"])
    assert score(asked, model).value == 5
    assert score(asked, os.path.relpath(model)).value == 5


def test_no_shell_is_involved():
    code = "import sys; print(len(sys.argv))"
    assert score(f"{python(code)} ; echo 99 | cat", DIGITS).value == 7


def test_a_command_that_fails_tells_its_last_words():
    code = (
        "import sys; print(0.9); sys.stderr.write('one\\nno such data: x.npz\\n\\n'); sys.exit(3)"
    )
    found = score(python(code), DIGITS)
    assert found.value is None and found.trouble == "exit code 3: no such data: x.npz"
    assert score(python("raise SystemExit(2)"), DIGITS).trouble == "exit code 2"
    long = score(python("import sys; sys.exit('x' * 9999)"), DIGITS).trouble
    assert len(long) < 400 and long.endswith("…")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_command_that_is_killed():
    found = score(python("import os; os.kill(os.getpid(), 9)"), DIGITS)
    assert found.trouble == "ended by signal 9"


def test_standard_input_is_closed():
    assert score(python("import sys; print(len(sys.stdin.read()))"), DIGITS).value == 0


def test_a_command_that_does_not_exist():
    with pytest.raises(UsageError, match="cannot start 'no-such-program'"):
        score("no-such-program {model}", DIGITS)


# Entry points


@pytest.mark.parametrize("name", ["weights", "loud"])
def test_an_entry_point_is_called_in_a_process_of_its_own(name):
    assert score(f"tests.gates.judges:{name}", DIGITS).value == judges.weights(DIGITS)


def test_an_entry_point_may_lie_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "my_eval.py").write_text("class A:\n    run = staticmethod(lambda path: 0.25)\n")
    monkeypatch.chdir(tmp_path)
    assert score("my_eval:A.run", DIGITS).value == 0.25


def test_an_entry_point_that_raises():
    found = score("tests.gates.judges:always_fails", DIGITS)
    assert found.trouble == "exit code 1: RuntimeError: the data set is gone"


def test_an_entry_point_that_takes_its_process_along(tmp_path, monkeypatch):
    (tmp_path / "rude.py").write_text("import os\ndef run(path):\n    os.abort()\n")
    monkeypatch.chdir(tmp_path)
    assert "ended by signal" in score("rude:run", DIGITS).trouble


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("tests.gates.judges:nothing", "nothing"),
        ("tests.gates.judges:no_function", "no_function of tests.gates.judges is no function"),
    ],
)
def test_an_entry_point_that_does_not_exist(name, words):
    with pytest.raises(UsageError, match=words):
        score(name, DIGITS)


def test_a_score_that_is_no_number():
    assert score("tests.gates.judges:undefined", DIGITS).value is None


# Functions


def test_a_function_is_called():
    judge = judges.Judge()
    assert score(judge, DIGITS).value == judges.weights(DIGITS)
    assert judge.seen == [os.path.abspath(DIGITS)]
    assert score(judges.undefined, DIGITS).value is None
    assert score(judges.always_fails, DIGITS).trouble == "RuntimeError: the data set is gone"


def test_what_a_check_is_called():
    assert name_of("python eval.py {model}") == "python eval.py {model}"
    assert name_of(judges.weights) == "tests.gates.judges:weights"
    assert name_of(judges.Judge()) == "tests.gates.judges:Judge"


# What could never run


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("python eval.py", "does not say where the model goes"),
        ("{model}", "does not say where the model goes"),
        ("", "does not say where the model goes"),
        ("python 'eval.py {model}", "is no command line"),
        (7, "is a command line or a function, not 7"),
    ],
)
def test_what_is_no_check(check, words):
    with pytest.raises(UsageError, match=words):
        validate(check)
    with pytest.raises(UsageError, match=words):
        Recipe(check=check).validate()


@pytest.mark.parametrize("check", ["python eval.py {model}", "a.b:c.d", judges.weights])
def test_what_is_a_check(check):
    Recipe(check=check, max_drop=0.01, min_score=-3.0).validate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_drop": 0.1}, "--max-drop is about the score of a --check"),
        ({"min_score": 0.1}, "--set min-score is about the score of a --check"),
        ({"check": "a:b", "max_drop": -1.0}, "--max-drop must be a number of at least 0"),
        ({"check": "a:b", "max_drop": float("nan")}, "--max-drop must be a number of at least 0"),
        ({"check": "a:b", "min_score": float("inf")}, "--set min-score must be a finite number"),
        ({"budget_bytes": 0}, "--budget-bytes must be a whole number of bytes"),
        ({"budget_bytes": "4M"}, "--budget-bytes must be a whole number of bytes"),
    ],
)
def test_demands_that_make_no_sense(options, words):
    with pytest.raises(UsageError, match=words):
        Recipe(**options).validate()
