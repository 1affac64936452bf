"""Rewrite the golden files of the rules: what they say, and which operators the corpus exercises.

python scripts/checks/golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpus import sweep
from tests.rules import lines


def main() -> int:
    """Rewrite the files and say what changed."""
    fresh = {lines.GOLDEN: lines.lines(), sweep.GOLDEN: sweep.exercised(sweep.sample())}
    for path, content in fresh.items():
        old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.write_text("\n".join(content) + "\n", encoding="utf-8")
        for word, sign in ((set(old) - set(content), "-"), (set(content) - set(old), "+")):
            print(*(f"{path.name}: {sign} {text}" for text in sorted(word)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
