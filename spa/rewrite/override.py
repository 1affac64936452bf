"""Correct a shape that the graph computes: replace only the entries that a cut has changed.

Entries that depend on dynamic sizes stay computed, so the model keeps accepting every batch size.
Where such an entry counts channels as well (tokens times channels, in one axis), it is scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from spa.make import make


class Writer(Protocol):
    """What puts nodes and constants into a model; both give the name of a tensor."""

    def constant(self, wanted: str, array: NDArray[Any]) -> str:
        """A stored one."""

    def insert(self, made: Callable[..., NodeProto], inputs: list[str], wanted: str) -> str:
        """One that a new node makes."""


def override(
    writer: Writer,
    name: str,
    old: NDArray[Any],
    new: NDArray[Any],
    symbolic: NDArray[np.bool_] | None = None,
) -> str:
    """The name of a tensor that equals `name` except where `new` differs from `old`.

    Entries in `symbolic` are other ones at other sizes: there new to old is a ratio.
    """
    if old.shape != new.shape:
        return writer.constant(f"{name}_spa", new)
    if symbolic is not None and (scaled := symbolic & (old != new) & (new > 0)).any():
        parts = (np.where(scaled, n, 1).astype(old.dtype) for n in (new, old))
        for word, made, by in zip(("mul", "div"), (make.Mul, make.Div), parts, strict=True):
            factor = writer.constant(f"{name}_spa_{word}_by", by)
            name = writer.insert(made, [name, factor], f"{name}_spa_{word}")
        new = np.where(scaled, old, new)
        if (old == new).all():
            return name
    keep = writer.constant(f"{name}_spa_keep", np.asarray(old == new))
    sizes = writer.constant(f"{name}_spa_sizes", np.asarray(new, old.dtype))
    return writer.insert(make.Where, [keep, name, sizes], f"{name}_spa")
