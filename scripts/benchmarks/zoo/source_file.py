"""ONNX files that exist already: the name is the path."""

from __future__ import annotations

import shutil
from pathlib import Path


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Copy a file that has no external data."""
    shutil.copyfile(name, path)
    return "a file"
