"""Results of networks and tools, one JSON line each, kept as soon as they are there."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

Result = dict[str, Any]


class Results:
    """A file of results, by network, tool and the tool's version; the last line counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[tuple[str, str, str], Result] = {}
        self.latest: dict[tuple[str, str], Result] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError, KeyError):  # a line cut short
                    entry = json.loads(line)
                    self._hold(entry["net"], entry["tool"], entry["version"], entry["result"])

    def _hold(self, net: str, tool: str, version: str, result: Result) -> None:
        self.found[net, tool, version] = result
        self.latest[net, tool] = result

    def of(self, net: str, tool: str, version: str | None = None) -> Result | None:
        """What a tool gave for a network; without a version, what was measured last."""
        if version is None:
            return self.latest.get((net, tool))
        return self.found.get((net, tool, version))

    def keep(self, net: str, tool: str, version: str, result: Result) -> None:
        """Add a result to the file."""
        self._hold(net, tool, version, result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"net": net, "tool": tool, "version": version, "result": result}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
