"""Files of a run: those that it reads, and a model as a file before there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnx import ModelProto

from spa.graph import Graph, save
from spa.graph.datafiles import data_files
from spa.graph.distinct import check_files, files_of
from spa.recipe import Recipe
from spa.storage import scratch


def check_output(
    model: Any, recipe: Recipe, output: str | os.PathLike[str] | None, plan: Any = None
) -> None:
    """Refuse, before any work, an output that is one of the files read.

    Raises:
        UsageError: it is.
    """
    others = {
        "the plan": plan,
        "an input of --calib": recipe.calib,
        "the file of --labels": recipe.labels,
        "the file of --saliency": recipe.saliency,
    }
    check_files([model], others, [output])


def files_read(graph: Graph, recipe: Recipe, plan: Any = None) -> tuple[Path, ...]:
    """All files that are read, a folder of inputs left out."""
    source = graph.source
    beside = data_files(source.path) if source.path is not None and source.external else []
    return (*files_of([source.path, recipe.calib, recipe.labels, recipe.saliency, plan]), *beside)


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
