"""Run a page's commands, in order, and put what they print below them.

    tutorial.py docs/tutorial.md FOLDER [--columns 100]

Lines of console blocks that begin with `$ ` are commands; what stood below them is replaced.
Python blocks that begin with a comment `# NAME.py` become files of FOLDER, where everything is run;
the repository's scripts are there as `scripts`.  Takes minutes: figures are measured anew.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRESS = re.compile(r"^[a-z ]+ \d+/\d+ [a-z]+(, about .+ left)?$")
"""What a stage says where there is no terminal and the machine is slow: no part of a page."""
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(command: str, folder: Path, columns: int) -> str:
    """What a command prints, colours and trailing blanks left out."""
    variables = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "CI": "1"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, env=variables, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    lines = [line for line in lines if not PROGRESS.match(line)]
    print(f"$ {command}  -> {done.returncode}", flush=True)
    return "\n".join([*lines, *([f"(exit code {done.returncode})"] if done.returncode else [])])


def shown(text: str, folder: Path, columns: int) -> str:
    """The page, with what its commands print."""

    def block(found: re.Match[str]) -> str:
        language, body = found.groups()
        if language == "python":
            if name := re.match(r"# (\w+\.py)\n", body):
                (folder / name[1]).write_text(body, encoding="utf-8")
            return found[0]
        commands = [line for line in body.splitlines() if line.startswith("$ ")]
        said = [f"{c}\n{run(c[2:], folder, columns)}".rstrip("\n") for c in commands]
        return "```console\n" + "\n".join(said) + "\n```"

    return BLOCK.sub(block, text)


def main() -> None:
    """Write the page anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--columns", type=int, default=100)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    scripts = folder / "scripts"
    if not scripts.exists():
        scripts.symlink_to(ROOT / "scripts")
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(shown(text, folder, options.columns), encoding="utf-8")


if __name__ == "__main__":
    main()
