"""Which files a run reads, so that none of them is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spa.graph import Graph
from spa.graph.datafiles import data_files
from spa.graph.distinct import check_files, files_of
from spa.recipe import Recipe


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
        "the file of --saliency": recipe.saliency,
    }
    check_files([model], others, [output])


def files_read(graph: Graph, recipe: Recipe, plan: Any = None) -> tuple[Path, ...]:
    """All files that are read, a folder of inputs left out."""
    source = graph.source
    beside = data_files(source.path) if source.path is not None and source.external else []
    return (*files_of([source.path, recipe.calib, recipe.saliency, plan]), *beside)
