"""A model as spa sees it: every shape and every constant known, nothing ever changed.

`read` turns a file, bytes, a stream or a `ModelProto` into a frozen `Graph`; `save` writes a
`ModelProto` atomically.  ONNX itself is imported on first use only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spa.graph.model import Graph, Node, Source

if TYPE_CHECKING:
    from spa.graph.load import read
    from spa.graph.write import Saved, save

__all__ = ["Graph", "Node", "Saved", "Source", "read", "save"]

_LAZY = {"read": "spa.graph.load", "save": "spa.graph.write", "Saved": "spa.graph.write"}


def __getattr__(name: str) -> object:
    """Import what needs `onnx` only when somebody asks for it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
