"""Timings kept between runs: one file per machine, in the user's cache folder.

A file that cannot be read, or is about another machine, counts as empty.  It is replaced in one
step, and what another run has written meanwhile is kept, so that concurrent runs only add to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from spa.errors import UsageError
from spa.latency.machine import Machine
from spa.storage import replaced

FORMAT = 1


class Store:
    """Milliseconds by key, for one machine; `folder` None keeps them in memory only."""

    def __init__(self, machine: Machine, folder: Path | None) -> None:
        self.machine = machine
        self.path = folder and folder / f"latency-{machine.key}.json"
        self._times = self._read()
        self._fresh: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        """What is known of a key."""
        return self._times.get(key)

    def put(self, times: Mapping[str, float]) -> None:
        """Remember; `flush` makes it last."""
        self._times.update(times)
        self._fresh.update(times)

    def flush(self) -> bool:
        """Write what is new; whether it will be there next time."""
        if self.path is None:
            return False
        if not self._fresh:
            return True
        told = {
            "format": FORMAT,
            "machine": asdict(self.machine),
            "milliseconds": {**self._read(), **self._fresh},
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replaced(self.path, json.dumps(told).encode(), "timings", "they are measured again")
        except (OSError, UsageError):  # a cache that cannot be written costs time, not the run
            return False
        self._fresh = {}
        return True

    def _read(self) -> dict[str, float]:
        if self.path is None:
            return {}
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
            if told["format"] != FORMAT or told["machine"] != asdict(self.machine):
                return {}
            found = {str(key): float(value) for key, value in told["milliseconds"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return {key: value for key, value in found.items() if math.isfinite(value) and value >= 0}
