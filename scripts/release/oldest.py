"""Prints the oldest supported version of every dependency, as constraints: `oldest.py [EXTRA ...]`.

pip install -e '.[cpu,test]' -c <(python scripts/release/oldest.py cpu test)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

BOUND = re.compile(r"^(?P<name>[\w.-]+)\s*>=\s*(?P<version>[\w.]+)")


def oldest(extras: list[str]) -> list[str]:
    """One line `name==version` per dependency; a dependency without a lower bound is an error."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    lines = []
    for requirement in wanted:
        found = BOUND.match(requirement)
        if found is None:
            raise SystemExit(f"{requirement} names no oldest version")
        lines.append(f"{found['name']}=={found['version']}")
    return sorted(set(lines))


if __name__ == "__main__":
    print("\n".join(oldest(sys.argv[1:])))
