"""Correct a shape that the graph computes: replace only the entries that a cut has changed.

Entries that depend on dynamic sizes stay computed, so the model keeps accepting every batch size.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Writer(Protocol):
    """What may be added to the model under construction."""

    def constant(self, wanted: str, array: NDArray[Any]) -> str:
        """Store a tensor; returns its name."""
        ...

    def insert(self, op: str, inputs: list[str], wanted: str) -> str:
        """Insert a node; returns the name of its output."""
        ...


def override(writer: Writer, name: str, old: NDArray[Any], new: NDArray[Any]) -> str:
    """The name of a tensor that equals `name` except where `new` differs from `old`."""
    if old.shape != new.shape:
        return writer.constant(f"{name}_spa", new)
    keep = writer.constant(f"{name}_spa_keep", np.asarray(old == new))
    sizes = writer.constant(f"{name}_spa_sizes", np.asarray(new, old.dtype))
    return writer.insert("Where", [keep, name, sizes], f"{name}_spa")
