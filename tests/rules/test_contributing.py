"""The page on adding an operator, tried as it is written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_helpers_that_the_page_names_exist():
    text = (ROOT / "docs/contributing/add_an_operator.md").read_text(encoding="utf-8")
    called = text.split("| it | call |")[1].split("\n\n")[0]
    files = {file: import_module(f"spa.rules.{file}") for file in re.findall(r"(\w+)\.py", called)}
    assert len(files) > 6
    for name, file in re.findall(r"`(\w+)` in `(\w+)\.py`", called):
        assert hasattr(files[file], name), f"{name} of {file}"
    for name in re.findall(r"`(\w+)`", called):
        assert any(hasattr(module, name) for module in files.values()), name


def test_an_operator_is_added_by_a_file_and_a_net(tmp_path):
    for folder in ("spa", "tests"):
        ignored = shutil.ignore_patterns("*.pyc.*")  # what is being written just then
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    text = (ROOT / "docs/contributing/add_an_operator.md").read_text(encoding="utf-8")
    rule, torch, net = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "spa/rules/distance.py").write_text(rule, encoding="utf-8")
    (tmp_path / "spa/torch/ops/distance.py").write_text(torch, encoding="utf-8")
    listed = tmp_path / "spa/rules/frozen.json"
    listed.write_text(listed.read_text(encoding="utf-8").replace("CDist ", ""), encoding="utf-8")
    with (tmp_path / "tests/nets/operators.py").open("a", encoding="utf-8") as nets:
        nets.write(f"\n\n{net}")
    asked = [line.split()[1:] for line in text.splitlines() if line.startswith("python -m pytest")]
    least = (20, 5)
    for words, passed in zip(asked, least, strict=True):
        done = subprocess.run(
            [sys.executable, *words, "-q", "-p", "no:cacheprovider"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > passed
