"""A package from outside: one module and its entry points, as an installer leaves them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests import warm
from tests.warm import ROOT


def install(folder: Path, source: str, *, name: str = "my-package", **groups: str) -> Path:
    """Put a distribution into a folder that may lie on the path.

    `groups` are lines of entry points by what follows `spa.`, such as `criteria="mine = mine:f"`.
    """
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    made = folder / f"{module}-1.2.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = [f"[spa.{group}]\n{points}\n" for group, points in groups.items()]
    (made / "entry_points.txt").write_text("\n".join(lines))
    return folder


def spa(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the shell where the packages in a folder are installed."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return warm.run("spa", *words, env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"})
