"""The worked examples for contributors, tried as they are written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.graph import read
from tests.carried import DIGITS, FASHION
from tests.plugins import ROOT, install, spa

PAGES = ROOT / "docs" / "contributing"


def blocks(page, language):
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def places(page, folder):
    """The files that a page says to write, in the order of its text."""
    return re.findall(rf"`({folder}/\w+\.py)`", (PAGES / page).read_text(encoding="utf-8"))


def commands(page):
    lines = "".join(blocks(page, "sh")).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("spa ")]


@pytest.fixture
def tree(tmp_path):
    """The project as a contributor has it, to write files into."""
    shutil.copytree(ROOT / "spa", tmp_path / "spa", ignore=shutil.ignore_patterns("*.pyc.*"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def run(tree, *words):
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


def given(words, model, out):
    return [str(model) if word == "model.onnx" else word for word in words] + ["-o", str(out)]


def entry_points(page):
    text = "".join(blocks(page, "toml"))
    found = re.findall(r'^\[project\.entry-points\."spa\.(\w+)"\]\n((?:\w+ = .*\n)+)', text, re.M)
    return {group: lines.replace('"', "") for group, lines in found}


def test_a_criterion_is_one_file(tree):
    page = "add_a_criterion.md"
    source, other, test = blocks(page, "python")
    (place,) = places(page, "spa/criteria")
    (tree / place).write_text(source, encoding="utf-8")
    (tree / "spa" / "criteria" / "order.py").write_text(other, encoding="utf-8")
    (words,) = commands(page)
    out = tree / "out.onnx"
    for scorer in ("l4", "order"):
        asked = [scorer if word == "l4" else word for word in given(words, DIGITS, out)]
        ran = run(tree, "spa", *asked, "--force")
        assert (ran.returncode, ran.stderr) == (0, "")
    (tree / "test_l4.py").write_text(test, encoding="utf-8")
    ran = run(tree, "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", "test_l4.py")
    assert ran.returncode == 0, ran.stdout
    shown = " ".join(run(tree, "spa", "prune", "--help").stdout.split())
    assert "l4: sum of fourth powers of weights" in shown and "order: place in" in shown


def test_a_criterion_of_a_package(tmp_path):
    page = "add_a_criterion.md"
    install(tmp_path, blocks(page, "python")[0], **entry_points(page))
    (words,) = commands(page)
    ran = spa(tmp_path, *given(words, DIGITS, tmp_path / "out.onnx"))
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("own", [True, False])
def test_a_unit_and_an_allocation(own, tree, tmp_path_factory):
    page = "add_a_budget.md"
    sources = blocks(page, "python")
    if own:
        for place, source in zip(places(page, "spa/budgets")[:2], sources, strict=True):
            (tree / place).write_text(source, encoding="utf-8")
    else:
        folder = tmp_path_factory.mktemp("site")
        whole = sources[0] + sources[1].replace("from __future__ import annotations\n", "")
        install(folder, whole, **entry_points(page))
    unit, allocation = commands(page)
    for words, name in ((unit, "energy.onnx"), (allocation, "widest.onnx")):
        asked = given(words, FASHION, tree / name)
        ran = run(tree, "spa", *asked) if own else spa(folder, *asked)
        assert (ran.returncode, ran.stderr) == (0, "")
    couplings = [analyse(read(path)) for path in (FASHION, tree / "energy.onnx")]
    before, after = (Cost(c)(c.everything()) for c in couplings)
    energy = [sizes.macs + 200 * sizes.params for sizes in (before, after)]
    assert energy[1] <= 0.7 * energy[0]
    sizes = [[g.channels for g in analyse(read(p)).groups] for p in (FASHION, tree / "widest.onnx")]
    assert max(sizes[1]) < max(sizes[0]) and min(sizes[1]) >= min(min(sizes[0]), max(sizes[1]) // 2)


def test_pages_say_where_files_go():
    assert places("add_a_budget.md", "spa/budgets")[:2] == [
        "spa/budgets/energy.py",
        "spa/budgets/widest.py",
    ]
    assert Path(places("add_a_criterion.md", "spa/criteria")[0]).name == "l4.py"
