"""Scores from a file: any weight-level saliency (such as |w·g|) made by any framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import UsageError, first_line
from spa.graph.model import Graph


def from_file(
    graph: Graph, path: Path
) -> Callable[[str, NDArray[np.float32]], NDArray[np.float32]]:
    """A weigher that looks weights up in a .npz or .safetensors file by initializer name.

    Tensors the file does not hold count nothing.  Raises UsageError if the file cannot be read,
    holds none of the model's initializers, an array of another shape, or what is no finite number.
    """
    arrays = _load(path)
    known = [name for name in arrays if name in graph.consts]
    if not known:
        raise UsageError(
            f"saliency file {path} names no initializer of the model; its keys must be "
            "initializer names"
        )
    for name in known:
        if tuple(arrays[name].shape) != tuple(graph.shapes[name]):
            raise UsageError(
                f"saliency of {name} in {path} has shape {tuple(arrays[name].shape)}, "
                f"the initializer has {tuple(graph.shapes[name])}"
            )
        if arrays[name].dtype.kind not in "fiub" or not np.isfinite(arrays[name]).all():
            raise UsageError(
                f"saliency of {name} in {path} holds what is no finite number; give one number "
                "per weight"
            )

    def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        if tensor not in arrays:
            return np.zeros(array.shape, np.float32)
        return np.asarray(arrays[tensor], np.float32).reshape(array.shape)

    return weigh


def _load(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise ValueError("it holds one array, without a name")
            return dict(arrays)
    except ImportError as error:
        raise UsageError(
            "reading .safetensors needs the safetensors package: pip install safetensors"
        ) from error
    except Exception as error:  # safetensors and zipfile raise types of their own
        text = first_line(error)
        raise UsageError(
            f"saliency file {path} cannot be read ({text}); give .npz or .safetensors"
        ) from error
