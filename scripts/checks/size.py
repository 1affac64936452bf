"""Watch the code's size: prints what is getting long and fails above the cap."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_SMELL, FILE_CAP = 260, 400
FUNCTION_SMELL, FUNCTION_CAP = 40, 50


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every function's place and the length of its body, without the docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield f"{path}:{node.lineno} {node.name}", lines


def report(sizes: list[tuple[str, int]], smell: int, cap: int) -> int:
    """Print what is longer than it should be; return how much is above the cap."""
    for name, lines in sorted(sizes, key=lambda item: -item[1]):
        if lines > smell:
            print(f"{lines:6} {name}{'  <- above the cap of ' + str(cap) if lines > cap else ''}")
    return sum(lines > cap for _, lines in sizes)


def main(folder: str) -> int:
    """Measure every file of a folder."""
    paths = sorted(Path(folder).rglob("*.py"))
    files = [(str(path), len(path.read_text(encoding="utf-8").splitlines())) for path in paths]
    above = report(files, FILE_SMELL, FILE_CAP)
    above += report([f for path in paths for f in functions(path)], FUNCTION_SMELL, FUNCTION_CAP)
    print(f"{sum(lines for _, lines in files):6} lines in {len(files)} files")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "spa"))
