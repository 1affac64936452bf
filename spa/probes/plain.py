"""Random inputs that a model accepts: of the right size and type, and indices within bounds."""

from __future__ import annotations

import numpy as np

from spa.errors import ReadError
from spa.graph.model import Graph
from spa.probes.uses import integers, numbered


def feeds(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs that the model accepts, at the sizes in `graph.dims`."""
    check_tensors(graph)
    rng = np.random.default_rng(seed)
    return {name: _random(graph, name, rng) for name in graph.inputs}


def check_tensors(graph: Graph) -> None:
    """Refuse inputs that are no tensors (sequences, maps, optional ones) or of unknown shape.

    Raises:
        ReadError: nothing can be made for an input.
    """
    missing = [name for name in graph.inputs if name not in graph.shapes]
    if missing:
        raise ReadError(
            f"input '{missing[0]}' has no tensor shape that spa could fill; give one with "
            "--input-shape, remove that input from the model, or cut without running it "
            "(--scorer l2 --verify none)"
        )


def _random(graph: Graph, name: str, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = graph.shapes[name], graph.dtypes[name]
    if dtype.kind == "O":
        return np.full(shape, "a", object)
    if dtype.kind == "b":
        return np.ones(shape, bool)
    if dtype.kind not in "iu" and not numbered(graph, name):
        return rng.standard_normal(shape, np.float32).astype(dtype)
    use = integers(graph, name)
    if use.limit is not None:
        return rng.integers(0, max(1, use.limit), shape).astype(dtype)
    if use.compared:
        return np.full(shape, use.compared[0]).astype(dtype)
    if dtype.itemsize == 1:
        return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    return np.ones(shape, dtype)
