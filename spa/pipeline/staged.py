"""A model as a file before there is one: for whatever must read or weigh what is not written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto

from spa.graph import Graph, save
from spa.storage import scratch

File = tuple[Path, int]


@contextmanager
def staged(model: ModelProto, base_dir: Path | None, name: str) -> Iterator[File]:
    """The path and bytes (external data included) of a model that lies in a temporary folder.

    Args:
        model: the model.
        base_dir: the folder that its external data is relative to.
        name: what the file is called, which is also part of the name of its data file.
    """
    with scratch() as folder:
        saved = save(model, folder / name, base_dir=base_dir)
        yield saved.path, saved.bytes


@contextmanager
def file_of(graph: Graph) -> Iterator[File]:
    """The path and bytes of a model that was read: its own file, or a temporary one."""
    source = graph.source
    if source.path is not None:
        yield source.path, source.bytes
        return
    with staged(graph.proto, source.base_dir, "model.onnx") as (path, _):
        yield path, source.bytes
